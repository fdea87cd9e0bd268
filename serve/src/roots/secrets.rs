//! Which files look by their names as if they held a secret, and which texts hold a private key.
//!
//! - In: a path, or a text. Out: whether its file is named only, and never read; the words for that.
//! - Not here: the names themselves (`schemas::secret_names`), the folders of credentials that the owner configured
//!   (`roots`).

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use schemas::secret_names::SECRET;
use std::path::Path;
use std::sync::LazyLock;

static RULES: LazyLock<Option<Gitignore>> = LazyLock::new(|| {
    let mut rules = GitignoreBuilder::new("");
    rules.case_insensitive(true).ok()?;
    for rule in SECRET {
        rules.add_line(None, rule).ok()?;
    }
    rules.build().ok()
});

/// Why something is not shown, after what it is. Where paths are looked up, what is in the folders of credentials that the
/// owner configured is withheld with these words, too.
pub(crate) const NEVER_READ: &str =
    "looks like a secret, or is in a folder of credentials; those are never read";

/// Whether a file looks by its path as if it held a secret.
pub(crate) fn is_secret(path: &Path) -> bool {
    is_secret_name(path) || path.parent().is_some_and(is_secret_folder)
}

/// The first half of [`is_secret`], for whoever asks for many files: the path itself.
pub(crate) fn is_secret_name(path: &Path) -> bool {
    // Without the rules nothing can be told, so nothing is read.
    RULES
        .as_ref()
        .is_none_or(|rules| rules.matched(path, false).is_ignore())
}

/// The other half: the folder that a file is in, which other files are in, too.
pub(crate) fn is_secret_folder(folder: &Path) -> bool {
    RULES.as_ref().is_none_or(|rules| {
        let is_one =
            |folder: &Path| matches!(rules.matched(folder, true), Match::Ignore(rule) if rule.is_only_dir());
        folder.ancestors().any(is_one)
    })
}

/// Whether a text has a private key in it, as PEM or OpenPGP write one: a line of it begins the key.
pub(crate) fn holds_private_key(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    lines.any(|line| {
        line.starts_with("-----BEGIN ")
            && ["PRIVATE KEY-----", "PRIVATE KEY BLOCK-----"]
                .iter()
                .any(|end| line.ends_with(end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_one() {
        let rules = RULES.as_ref().unwrap();
        assert_eq!(rules.len(), SECRET.len(), "a rule was passed over");
    }

    #[test]
    fn names_are_told_apart() {
        let secret = [
            ".env",
            "a/.env.local",
            "A.PEM",
            "id_ed25519",
            "x/secret.yml",
            "credentials",
            "/h/.ssh/config",
            ".git/config",
            "h/.config/gcloud/a.db",
            "h/.bash_history",
            ".vault-token",
            "github.token",
            "a/Token",
            "tokens",
            "token.txt",
            "GITHUB_TOKEN",
            "a/api_token.txt",
            "deploy-token",
            "site.secret",
            "all.SECRETS",
            "password.txt",
            "Passwords 2024.txt",
            "passwords.csv",
            "backup.asc",
            "a.tar.gpg",
            "a.age",
            "credentials.json",
            "credentials.old",
            "passwords.md",
            "auth.json",
            "h/.config/gh/hosts.yml",
            "rclone.conf",
            ".yarnrc.yml",
            ".vault_pass",
            ".vault_pass.txt",
            "id_rsa.bak",
            "server.pem.bak",
            "secrets/db_password",
            "db_password.txt",
            "my-secret.yaml",
            "app_secrets.json",
            "a.pkcs12",
            "blog/wp-config.php",
            ".env.js",
        ];
        for name in secret {
            assert!(is_secret(Path::new(name)), "{name}");
        }
        let plain = [
            "id_rsa.pub",
            "environment.txt",
            "keys.md",
            "credentials/a.md",
            "src/secrets.rs",
            "gcloud/a.py",
            "history.csv",
            "src/token.rs",
            "tokens.rs",
            "tokenizer.txt",
            "password.rs",
            "src/credentials.rs",
            "credentials.md",
            "Credentials.PY",
            "id_rsa.md",
            "my-secrets.md",
            "author.json",
            "config/gh/hosts.yml",
            "tokens/a.md",
            "",
        ];
        for name in plain {
            assert!(!is_secret(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn private_keys_are_told_by_the_line_that_begins_them() {
        for kind in [
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
            "PGP PRIVATE KEY BLOCK",
        ] {
            let begin = format!("-----BEGIN {kind}-----");
            assert!(
                holds_private_key(&format!("a: |\r\n  {begin}\r\n  MII\r\n")),
                "{kind}"
            );
            assert!(!holds_private_key(&format!("`{begin}` begins a key\n")), "{kind}");
        }
        assert!(!holds_private_key("-----BEGIN PUBLIC KEY-----\nMII\n"));
        assert!(!holds_private_key("-----BEGIN CERTIFICATE-----\nMII\n"));
    }
}
