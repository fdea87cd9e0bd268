//! API tokens: who may ask the gateway, as what, for what, until when. One table of the state database.
//!
//! - In: what a token is for; the text of a token. Out: that text, once; the token it belongs to.
//! - Not here: what a role may do, limits of rate, a cache: the gateway has them.

use crate::database::{Database, Part, Place};
use crate::error::StoreError;
use crate::keys::{Key, private_key, random_bytes};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemas::{Instant, Role};
use secrecy::SecretString;
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::path::PathBuf;

/// What the text of every token begins with, by which scanners for leaked secrets know it.
const PREFIX: &str = "dkc_";

/// Characters after [`PREFIX`]: 32 bytes as base64url without padding (RFC 4648 §5).
const SECRET: usize = 43;

/// How many of them are the token's id, which is no secret; 208 bits stay.
const ID: usize = 8;

/// The table `tokens`, and the key of its hashes.
#[derive(Debug, Clone)]
pub struct Tokens {
    database: Database,
    /// The data directory.
    data: PathBuf,
    key: Key,
}

/// What a token is to be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The only datasets it may read; absent: all that its role may.
    pub datasets: Option<Vec<String>>,
    /// When it ends.
    pub expires_at: Option<Instant>,
    /// How often it may ask.
    pub requests_per_second: Option<u32>,
}

/// A token, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Token {
    /// The first characters after `dkc_`: its name in lists and in the audit.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The only datasets it may read; absent: all that its role may.
    pub datasets: Option<Vec<String>>,
    /// When it was made.
    pub created_at: Instant,
    /// When it ends.
    pub expires_at: Option<Instant>,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<Instant>,
    /// When it was revoked.
    pub revoked_at: Option<Instant>,
    /// How often it may ask.
    pub requests_per_second: Option<u32>,
}

impl Token {
    /// Whether it is neither revoked nor expired at that moment.
    pub fn is_live(&self, at: Instant) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| at < end)
    }
}

impl Tokens {
    /// Opens the tokens of a place; what is missing is made.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses, or the key cannot be made or read.
    pub async fn open(place: impl Into<Place>) -> Result<Self, StoreError> {
        let place = place.into();
        let database = Database::open(&place, Part::State).await?;
        let key = private_key(&place.data.join("token.key"))?;
        Ok(Self {
            database,
            data: place.data,
            key,
        })
    }

    /// Makes a token. Its text is told here and nowhere else.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses, or the system has no random bytes.
    pub async fn create(&self, new: NewToken) -> Result<(SecretString, Token), StoreError> {
        let secret = loop {
            let secret = URL_SAFE_NO_PAD.encode(random_bytes(&self.data)?);
            // An id that begins with `-` would be an option on a command line.
            if !secret.starts_with('-') {
                break secret;
            }
        };
        let token = Token {
            id: secret.chars().take(ID).collect(),
            name: new.name,
            role: new.role,
            datasets: new.datasets,
            created_at: now(),
            expires_at: new.expires_at,
            last_used_at: None,
            revoked_at: None,
            requests_per_second: new.requests_per_second,
        };
        let text = format!("{PREFIX}{secret}");
        let datasets = token
            .datasets
            .as_ref()
            .map(|names| serde_json::json!(names).to_string());
        sqlx::query("INSERT INTO tokens VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, NULL, $8)")
            .bind(&token.id)
            .bind(self.key.hash(text.as_bytes()).as_bytes().as_slice())
            .bind(&token.name)
            .bind(token.role.as_str())
            .bind(datasets)
            .bind(token.created_at)
            .bind(token.expires_at)
            .bind(token.requests_per_second.map(i64::from))
            .execute(self.database.pool())
            .await
            .map_err(self.database.failed())?;
        Ok((text.into(), token))
    }

    /// All tokens, those too that are revoked or expired, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn list(&self) -> Result<Vec<Token>, StoreError> {
        let failed = self.database.failed();
        let rows = sqlx::query("SELECT * FROM tokens ORDER BY created_at, id")
            .fetch_all(self.database.pool())
            .await
            .map_err(&failed)?;
        rows.iter()
            .map(token_of)
            .collect::<Result<_, _>>()
            .map_err(&failed)
    }

    /// Ends a token; false when there is none of that id, or it was revoked before.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn revoke(&self, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id)
            .bind(now())
            .execute(self.database.pool())
            .await
            .map_err(self.database.failed())?;
        Ok(done.rows_affected() > 0)
    }

    /// Whether no token is live.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        let now = now();
        Ok(!self.list().await?.iter().any(|token| token.is_live(now)))
    }

    /// The live token whose text this is.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn verify(&self, text: &str) -> Result<Option<Token>, StoreError> {
        let Some(id) = id_of(text) else { return Ok(None) };
        let failed = self.database.failed();
        let row = sqlx::query("SELECT * FROM tokens WHERE id = $1")
            .bind(id)
            .fetch_optional(self.database.pool())
            .await
            .map_err(&failed)?;
        let Some(row) = row else { return Ok(None) };
        let hash: Vec<u8> = row.try_get("hash").map_err(&failed)?;
        // Comparing with a `blake3::Hash` takes as long wherever the two differ.
        if self.key.hash(text.as_bytes()) != *hash.as_slice() {
            return Ok(None);
        }
        let token = token_of(&row).map_err(&failed)?;
        Ok(token.is_live(now()).then_some(token))
    }

    /// Writes when tokens were last used, by id.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses; nothing is written then.
    pub async fn touch(&self, used: &[(String, Instant)]) -> Result<(), StoreError> {
        let failed = self.database.failed();
        let mut transaction = self.database.begin().await?;
        for (id, at) in used {
            sqlx::query(
                "UPDATE tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)",
            )
            .bind(id)
            .bind(*at)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }

    /// A number that rises when a token is created or revoked: no row is ever deleted, and none is revoked twice.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn generation(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT count(*) + count(revoked_at) FROM tokens")
            .fetch_one(self.database.pool())
            .await
            .map_err(self.database.failed())
    }

    /// Ends all use of the database.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

fn now() -> Instant {
    jiff::Timestamp::now().as_microsecond()
}

/// The id in the text of a token, if it has the shape of one.
fn id_of(text: &str) -> Option<&str> {
    let secret = text.strip_prefix(PREFIX)?;
    if secret.len() == SECRET {
        secret.get(..ID)
    } else {
        None
    }
}

fn token_of(row: &AnyRow) -> Result<Token, sqlx::Error> {
    let role: String = row.try_get("role")?;
    let datasets: Option<String> = row.try_get("datasets")?;
    Ok(Token {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        role: role
            .parse::<Role>()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        datasets: datasets
            .map(|names| serde_json::from_str(&names))
            .transpose()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: row.try_get("last_used_at")?,
        revoked_at: row.try_get("revoked_at")?,
        requests_per_second: row
            .try_get::<Option<i64>, _>("requests_per_second")?
            .map(u32::try_from)
            .transpose()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::tests::{postgres, sqlite};
    use secrecy::ExposeSecret;

    fn new() -> NewToken {
        NewToken {
            name: "phone".to_owned(),
            role: Role::Automated,
            datasets: Some(vec!["emails".to_owned()]),
            expires_at: Some(now() + 60_000_000),
            requests_per_second: Some(5),
        }
    }

    async fn is_known_by_its_text(place: &Place) {
        let tokens = Tokens::open(place).await.unwrap();
        let (text, token) = tokens.create(new()).await.unwrap();
        let text = text.expose_secret();
        assert_eq!(text.len(), PREFIX.len() + SECRET);
        assert_eq!(tokens.verify(text).await.unwrap(), Some(token));
        for at in 0..text.len() {
            let mut wrong = text.to_owned();
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            wrong.replace_range(at..=at, other);
            assert_eq!(tokens.verify(&wrong).await.unwrap(), None, "character {at}");
        }
        for wrong in ["", PREFIX, &text[..text.len() - 1], &format!("{text}A")] {
            assert_eq!(tokens.verify(wrong).await.unwrap(), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_token_is_known_by_its_text_and_by_no_other() {
        let (_folder, place) = sqlite();
        is_known_by_its_text(&place).await;
    }

    async fn is_none_once_revoked(place: &Place) {
        let tokens = Tokens::open(place).await.unwrap();
        assert!(tokens.is_empty().await.unwrap());
        let (text, token) = tokens.create(new()).await.unwrap();
        let made = tokens.generation().await.unwrap();
        assert!(!tokens.is_empty().await.unwrap());
        assert!(tokens.revoke(&token.id).await.unwrap());
        assert!(!tokens.revoke(&token.id).await.unwrap());
        assert!(!tokens.revoke("nobody").await.unwrap());
        assert_eq!(tokens.verify(text.expose_secret()).await.unwrap(), None);
        assert!(tokens.is_empty().await.unwrap());
        assert_eq!(tokens.generation().await.unwrap(), made + 1);
        assert!(tokens.list().await.unwrap()[0].revoked_at.is_some());
    }

    #[tokio::test]
    async fn a_revoked_token_is_no_token() {
        let (_folder, place) = sqlite();
        is_none_once_revoked(&place).await;
    }

    async fn is_none_once_expired(place: &Place) {
        let tokens = Tokens::open(place).await.unwrap();
        let expired = NewToken {
            expires_at: Some(now() - 1),
            datasets: None,
            requests_per_second: None,
            ..new()
        };
        let (text, _) = tokens.create(expired).await.unwrap();
        assert_eq!(tokens.verify(text.expose_secret()).await.unwrap(), None);
        assert!(tokens.is_empty().await.unwrap());
        assert_eq!(tokens.list().await.unwrap()[0].requests_per_second, None);
    }

    #[tokio::test]
    async fn an_expired_token_is_no_token() {
        let (_folder, place) = sqlite();
        is_none_once_expired(&place).await;
    }

    async fn was_used_last_never_earlier(place: &Place) {
        let tokens = Tokens::open(place).await.unwrap();
        let (_, token) = tokens.create(new()).await.unwrap();
        for at in [20, 10] {
            tokens.touch(&[(token.id.clone(), at)]).await.unwrap();
        }
        assert_eq!(tokens.list().await.unwrap()[0].last_used_at, Some(20));
    }

    #[tokio::test]
    async fn the_last_use_never_goes_back() {
        let (_folder, place) = sqlite();
        was_used_last_never_earlier(&place).await;
    }

    #[tokio::test]
    async fn all_of_it_holds_on_postgres() {
        is_known_by_its_text(&postgres().1).await;
        is_none_once_revoked(&postgres().1).await;
        is_none_once_expired(&postgres().1).await;
        was_used_last_never_earlier(&postgres().1).await;
    }

    #[tokio::test]
    async fn no_file_holds_the_text_of_a_token_and_another_key_knows_none() {
        let (folder, place) = sqlite();
        let tokens = Tokens::open(&place).await.unwrap();
        let (text, token) = tokens.create(new()).await.unwrap();
        let secret = &text.expose_secret()[PREFIX.len() + ID..];
        assert!(!format!("{tokens:?} {token:?} {text:?}").contains(secret));
        let holds_secret = |path: PathBuf| {
            let bytes = std::fs::read(path).unwrap();
            bytes.windows(secret.len()).any(|part| part == secret.as_bytes())
        };
        let there = || {
            std::fs::read_dir(folder.path())
                .unwrap()
                .map(|file| file.unwrap().path())
        };
        assert!(!there().any(holds_secret));
        tokens.close().await;
        assert!(!there().any(holds_secret));
        std::fs::remove_file(folder.path().join("token.key")).unwrap();
        let tokens = Tokens::open(&place).await.unwrap();
        assert_eq!(tokens.verify(text.expose_secret()).await.unwrap(), None);
    }
}
