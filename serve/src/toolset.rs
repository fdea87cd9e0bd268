//! The families of operations: what an agent is given, and what the owner has to have allowed for it.
//!
//! - A family that is not on is absent everywhere: no route, no tool, no resource.
//! - Not here: who may call what (the roles of an operation).

use crate::config::Config;
use schemas::View;

/// A family of operations.
#[derive(Debug)]
pub struct Toolset {
    /// Its name, as `--toolsets` and the grouped tools have it.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub about: &'static str,
    /// Whether agents are given it when they do not say which.
    pub is_default: bool,
    /// The dataset that it is about: who may not see that is not given it.
    pub dataset: Option<&'static str>,
    /// Whether the owner allowed it.
    pub is_on: fn(&Config) -> bool,
}

impl PartialEq for Toolset {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Toolset {
    /// Whether a caller with this view is given it.
    pub fn is_shown(&self, view: &View) -> bool {
        self.dataset.is_none_or(|dataset| view.shows(dataset))
    }

    /// Whether agents may be given it at all.
    pub fn is_for_agents(&self) -> bool {
        *self != OWNER
    }
}

/// All families, in the order in which documents list them.
pub const ALL: &[&Toolset] = &[
    &DATA,
    &ROWS,
    &SEARCH,
    &PLANS,
    &EMAILS,
    &PHOTOS,
    &GIT,
    &FILES,
    &PROJECTS,
    &SECRETS,
    &MONITORING,
    &MACHINES,
    &CONTAINERS,
    &BUILDS,
    &GITHUB,
    &OWNER,
];

/// The family of a name.
pub fn by_name(name: &str) -> Option<&'static Toolset> {
    ALL.iter().copied().find(|toolset| toolset.name == name)
}

/// Datasets: their shape, rows, items, files, SQL.
pub const DATA: Toolset = Toolset {
    name: "data",
    about: "Datasets of the owner's lake: their columns, SQL over them, items, exports.",
    is_default: true,
    dataset: None,
    is_on: |_| true,
};

/// More of datasets: rows page by page, originals, queries with a name.
pub const ROWS: Toolset = Toolset {
    name: "rows",
    about: "Rows page by page, queries with a name.",
    is_default: false,
    dataset: None,
    is_on: |_| true,
};

/// Search over everything.
pub const SEARCH: Toolset = Toolset {
    name: "search",
    about: "Search over everything collected, by words and by meaning.",
    is_default: true,
    dataset: None,
    is_on: |_| true,
};

/// Plans and other documents.
pub const PLANS: Toolset = Toolset {
    name: "masterplan-rag",
    about: "Plans and other documents: search by meaning, sections.",
    is_default: false,
    dataset: Some("documents"),
    is_on: |_| true,
};

/// Mail.
pub const EMAILS: Toolset = Toolset {
    name: "emails",
    about: "Mail: search, whole messages, attachments, folders.",
    is_default: false,
    dataset: Some("emails"),
    is_on: |_| true,
};

/// Photos.
pub const PHOTOS: Toolset = Toolset {
    name: "photos",
    about: "Photos: search, metadata, albums.",
    is_default: false,
    dataset: Some("photos"),
    is_on: |_| true,
};

/// Git history.
pub const GIT: Toolset = Toolset {
    name: "git-integration",
    about: "Git: commits and their patches, blame, how a file evolved.",
    is_default: false,
    dataset: Some("git_commits"),
    is_on: |_| true,
};

/// Files under the allowed folders.
pub const FILES: Toolset = Toolset {
    name: "file-navigator",
    about: "Files of the folders that the owner allowed: find, list, read.",
    is_default: false,
    dataset: None,
    is_on: |config| !config.roots.is_empty(),
};

/// Manifests of projects under the allowed folders.
pub const PROJECTS: Toolset = Toolset {
    name: "project-config",
    about: "Manifests and dependencies of the projects in the allowed folders.",
    is_default: false,
    dataset: None,
    is_on: |config| !config.roots.is_empty(),
};

/// Where credentials are.
pub const SECRETS: Toolset = Toolset {
    name: "secrets-manager",
    about: "Where credentials are kept and of what kind they are; never what they hold.",
    is_default: false,
    dataset: None,
    is_on: |config| !config.secret_folders.is_empty(),
};

/// Whether all is well.
pub const MONITORING: Toolset = Toolset {
    name: "monitoring",
    about: "Whether pipelines and services are well, what they cost, what is wrong.",
    is_default: false,
    dataset: None,
    is_on: |_| true,
};

/// What of it is about runs: of the same family, for whoever may see the dataset of them.
pub const RUNS: Toolset = Toolset {
    dataset: Some("runs"),
    ..MONITORING
};

/// Virtual machines.
pub const MACHINES: Toolset = Toolset {
    name: "cloud-cli",
    about: "The owner's virtual machines: state, start, stop.",
    is_default: false,
    dataset: None,
    is_on: |config| !config.machines.is_empty(),
};

/// Containers.
pub const CONTAINERS: Toolset = Toolset {
    name: "docker-manager",
    about: "The owner's containers: state, health, logs, restart.",
    is_default: false,
    dataset: None,
    is_on: |config| config.docker.is_some(),
};

/// Builds.
pub const BUILDS: Toolset = Toolset {
    name: "build-orchestrator",
    about: "The owner's builds: which there are, run one.",
    is_default: false,
    dataset: None,
    is_on: |config| !config.builds.is_empty(),
};

/// GitHub.
pub const GITHUB: Toolset = Toolset {
    name: "github-integration",
    about: "The owner's repositories on GitHub: pull requests, workflow runs, start a workflow.",
    is_default: false,
    dataset: None,
    is_on: |config| config.github.is_some(),
};

/// What only the owner does: tokens, the audit log, approvals.
pub const OWNER: Toolset = Toolset {
    name: "owner",
    about: "Tokens, the audit log, approvals: for people.",
    is_default: false,
    dataset: None,
    is_on: |_| true,
};
