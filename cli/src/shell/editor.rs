//! The line editor: its prompt, its keys, its memory.
//!
//! - In: the data directory, which holds the history. Out: what was typed, once it is complete.

use super::colours::Colours;
use super::complete::Completer;
use super::script;
use reedline::{
    ColumnarMenu, DefaultHinter, EditCommand, Emacs, FileBackedHistory, InputMode, KeyCode, KeyModifiers,
    MenuBuilder, Prompt, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu,
    ValidationResult, Validator, default_emacs_keybindings,
};
use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How many queries are remembered.
const REMEMBERED: usize = 10_000;

const MENU: &str = "completions";

const INDICATOR: &str = "> ";

/// An editor that remembers what was typed over this data directory before.
pub fn open(data: &Path) -> io::Result<Reedline> {
    let path = data.join("sql-history.txt");
    // For its owner alone, like the data that it speaks of.
    File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)?;
    let history = FileBackedHistory::with_file(REMEMBERED, path).map_err(io::Error::other)?;
    let mut keys = default_emacs_keybindings();
    let next = vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext];
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(next));
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    keys.add_binding(
        KeyModifiers::ALT,
        KeyCode::Enter,
        ReedlineEvent::Edit(vec![EditCommand::InsertNewline]),
    );
    let menu = ColumnarMenu::default()
        .with_name(MENU)
        .with_marker(INDICATOR)
        // What stands behind the cursor tells which tables are read.
        .with_input_mode(InputMode::FullBuffer);
    Ok(Reedline::create()
        .with_history(Box::new(history))
        .with_validator(Box::new(Ends))
        .with_completer(Box::new(Completer::new(data)))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_highlighter(Box::new(Colours))
        .with_hinter(Box::new(DefaultHinter::default()))
        .with_ansi_colors(std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()))
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .use_bracketed_paste(true))
}

/// Whether what was typed is complete.
struct Ends;

impl Validator for Ends {
    fn validate(&self, line: &str) -> ValidationResult {
        match script::is_complete(line) {
            true => ValidationResult::Complete,
            false => ValidationResult::Incomplete,
        }
    }
}

/// The prompt.
pub struct Asks;

impl Prompt for Asks {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        "dkc".into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        INDICATOR.into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "...> ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        format!(" search `{}`: ", search.term).into()
    }
}
