//! Arguments of a command that go without its subcommands.
//!
//! - In: what was parsed. Out: those arguments, or that they and a subcommand do not go together.
//! - clap's own `args_conflicts_with_subcommands` refuses the global options before a subcommand as well.

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Id};

/// Such arguments. They stand before the subcommand in their struct: who takes that takes it out of what was parsed.
#[derive(Debug)]
pub struct Own<T>(pub T);

impl<T: Args> FromArgMatches for Own<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        check::<T>(matches)?;
        T::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        check::<T>(matches)?;
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        check::<T>(matches)?;
        self.0.update_from_arg_matches(matches)
    }
}

impl<T: Args> Args for Own<T> {
    fn group_id() -> Option<Id> {
        T::group_id()
    }

    fn augment_args(command: Command) -> Command {
        T::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}

/// Refuses the first of these arguments that is given before a subcommand.
fn check<T: Args>(matches: &ArgMatches) -> Result<(), Error> {
    let Some(subcommand) = matches.subcommand_name() else {
        return Ok(());
    };
    let own = T::augment_args(Command::new("own"));
    let given = own
        .get_arguments()
        .find(|argument| matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine));
    let Some(given) = given else { return Ok(()) };
    let name = given
        .get_long()
        .map_or_else(|| given.get_id().to_string(), |long| format!("--{long}"));
    let message = format!("the subcommand '{subcommand}' cannot be used with '{name}'");
    Err(Error::raw(ErrorKind::ArgumentConflict, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Parser, Subcommand};

    #[derive(Debug, Args)]
    struct List {
        #[arg(long, default_value_t = 20)]
        limit: u32,
    }

    #[derive(Debug, Subcommand)]
    enum Action {
        Show,
    }

    #[derive(Debug, Parser)]
    struct Told {
        #[arg(long, global = true)]
        json: bool,
        #[command(flatten)]
        list: Own<List>,
        #[command(subcommand)]
        action: Option<Action>,
    }

    #[test]
    fn what_is_global_goes_before_a_subcommand_and_what_is_its_own_does_not() {
        let told = |arguments: &[&str]| Told::try_parse_from([&["told"][..], arguments].concat());
        for arguments in [&["--json", "show"][..], &["show", "--json"]] {
            let told = told(arguments).unwrap();
            assert!(told.json && told.action.is_some(), "{told:?}");
            assert_eq!(told.list.0.limit, 20);
        }
        assert_eq!(told(&["--limit", "3"]).unwrap().list.0.limit, 3);
        let error = told(&["--limit", "20", "show"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
        let words = "error: the subcommand 'show' cannot be used with '--limit'\n";
        assert!(error.to_string().starts_with(words), "{error}");
    }
}
