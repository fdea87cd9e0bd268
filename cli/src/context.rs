//! What every command is told: the global options, with their defaults found.

use crate::config::Config;
use clap::Args;
use etcetera::BaseStrategy;
use etcetera::base_strategy::Xdg;
use miette::{IntoDiagnostic, Result, miette};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use store::Place;

/// Options that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Configuration [default: ./dkc.toml, then $XDG_CONFIG_HOME/dkc/dkc.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the lake and its state [default: $XDG_DATA_HOME/dkc]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Results on standard output and errors on standard error as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress, hints or notes; warnings and errors all the same
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say what happens; twice: in detail. DKC_LOG sets it by module
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The global options as commands use them.
#[derive(Debug, Clone)]
pub struct Context {
    /// As given with `--config`; see [`Context::config_path`].
    config: Option<PathBuf>,
    /// The data directory, absolute. It need not exist.
    pub data: PathBuf,
    /// Whether results are JSON.
    pub json: bool,
    /// Whether hints and progress are unwanted.
    pub quiet: bool,
    /// How much to log: 0 warnings, 1 information, 2 all.
    pub verbose: u8,
    /// Where the store is, once somebody asked.
    place: OnceLock<Place>,
}

impl Context {
    /// Finds the defaults.
    ///
    /// # Errors
    /// When the home directory or the working directory cannot be told.
    pub fn new(global: Global) -> Result<Self> {
        let Global {
            config,
            data,
            json,
            quiet,
            verbose,
        } = global;
        let data = match data {
            Some(data) => data,
            None => xdg()?.data_dir().join("dkc"),
        };
        let absolute = |path: PathBuf| {
            std::path::absolute(&path)
                .map_err(|error| miette!("cannot resolve `{}`: {error}", path.display()))
        };
        Ok(Self {
            config: config.map(absolute).transpose()?,
            data: absolute(data)?,
            json,
            quiet,
            verbose,
            place: OnceLock::new(),
        })
    }

    /// Where the store is: the data directory, and the database that the configuration names, if it names one.
    ///
    /// # Errors
    /// Every mistake of a configuration that is there, or that the secret of its database is not where it should be.
    pub fn place(&self) -> Result<Place> {
        if let Some(place) = self.place.get() {
            return Ok(place.clone());
        }
        let place = match self.config_path()?.exists() {
            true => self.load_config()?.place(&self.data)?,
            false => Place::from(&self.data),
        };
        Ok(self.place.get_or_init(|| place).clone())
    }

    /// The same, after it was seen that the database is that of the data directory: for whoever opens a part of the store
    /// and not all of it.
    ///
    /// # Errors
    /// As [`Context::place`]; that it is not, or that it does not answer.
    pub async fn own_place(&self) -> Result<Place> {
        let place = self.place()?;
        place.check().await.into_diagnostic()?;
        Ok(place)
    }

    /// The folder of models: `DKC_MODELS`, else `models` in the data directory if it is there, else the cache
    /// directory's.
    ///
    /// # Errors
    /// When the home directory cannot be told.
    pub fn models(&self) -> Result<PathBuf> {
        let own = self.data.join("models");
        match std::env::var_os("DKC_MODELS").filter(|models| !models.is_empty()) {
            Some(models) => Ok(PathBuf::from(models)),
            None if own.is_dir() => Ok(own),
            None => Ok(xdg()?.cache_dir().join("dkc/models")),
        }
    }

    /// Where the configuration is, or, when there is none yet, belongs: `--config`, else `./dkc.toml`,
    /// else the user's own when it exists.
    ///
    /// # Errors
    /// When the working directory cannot be told.
    pub fn config_path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.config {
            return Ok(path.clone());
        }
        let here =
            std::path::absolute("dkc.toml").map_err(|error| miette!("cannot tell where I am: {error}"))?;
        let own = own_config();
        Ok(match own {
            Some(own) if !here.exists() && own.exists() => own,
            _ => here,
        })
    }

    /// It, blind to a `dkc.toml` that merely lies where the command runs. Agents are started in folders that others made,
    /// and what such a file allows would be theirs to say.
    pub fn away_from_here(&self) -> Self {
        Self {
            config: self.config.clone().or_else(own_config),
            data: self.data.clone(),
            place: OnceLock::new(),
            ..*self
        }
    }

    /// The configuration, checked.
    ///
    /// # Errors
    /// A diagnostic for each mistake in it, or that there is none.
    pub fn load_config(&self) -> Result<Config> {
        let path = self.config_path()?;
        if !path.exists() {
            let places = match (&self.config, own_config()) {
                (None, Some(own)) => format!("neither `{}` nor `{}` exists", path.display(), own.display()),
                _ => format!("`{}` does not exist", path.display()),
            };
            return Err(miette!(
                help = "`dkc init` writes one, `--config FILE` names another",
                "no configuration: {places}"
            ));
        }
        Config::load(&path)
    }
}

fn own_config() -> Option<PathBuf> {
    Some(xdg().ok()?.config_dir().join("dkc").join("dkc.toml"))
}

fn xdg() -> Result<Xdg> {
    Xdg::new().map_err(|_| {
        miette!(
            help = "set HOME, or give `--data` and `--config`",
            "there is no home directory"
        )
    })
}

/// `path` with `~` replaced by the home directory, and relative to `folder` unless absolute.
///
/// # Errors
/// A sentence, when the path is empty or of another user's home, or there is no home directory.
pub fn expand(path: &str, folder: &Path) -> Result<PathBuf, String> {
    if path.is_empty() {
        return Err("the path is empty; `.` is the folder of the configuration".to_owned());
    }
    let Some(rest) = path.strip_prefix('~') else {
        return Ok(folder.join(path));
    };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Err(format!(
            "`{path}` is of another user's home; write the whole path"
        ));
    }
    let home = etcetera::home_dir().map_err(|_| format!("`{path}` needs a home directory; set HOME"))?;
    match rest.trim_start_matches('/') {
        "" => Ok(home),
        rest => Ok(home.join(rest)),
    }
}
