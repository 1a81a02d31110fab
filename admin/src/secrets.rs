//! What must not be guessed: passwords, the digests of PATs, random identifiers, and the file with the fleet's key.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::LazyLock;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Argon2, PasswordHash};
use cube_wire::PatDigest;
use cube_wire::seal::{FleetKey, SealError};
use sha2::{Digest as _, Sha256};

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or made.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// What it holds is no key.
    #[error("{path}: {error}")]
    Content {
        /// The file.
        path: String,
        /// What is wrong.
        #[source]
        error: SealError,
    },
}

/// Reads the fleet's key; makes one, readable for its owner alone, if there is no such file.
///
/// # Errors
/// [`KeyFileError`].
pub fn fleet_key(path: &Path) -> Result<FleetKey, KeyFileError> {
    let shown = || path.display().to_string();
    let io = |error| KeyFileError::Io { path: shown(), error };
    let content = |error| KeyFileError::Content { path: shown(), error };
    match std::fs::read_to_string(path) {
        Ok(text) => FleetKey::from_text(&text).map_err(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = FleetKey::generate().map_err(content)?;
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .map_err(io)?;
            writeln!(file, "{}", key.to_text()).and_then(|()| file.sync_all()).map_err(io)?;
            Ok(key)
        }
        Err(error) => Err(io(error)),
    }
}

/// Hashes a password: argon2id with its recommended parameters and a random salt (RFC 9106). Takes tens of milliseconds and
/// 19 MiB: call it on a blocking thread.
///
/// # Errors
/// The system has no randomness.
pub fn hash_password(password: &str) -> Result<String, argon2::password_hash::Error> {
    Ok(Argon2::default().hash_password(password.as_bytes())?.to_string())
}

/// Whether the password is the hashed one. Costs as much without a hash (no such user, no password) as with one, so that the time tells
/// nobody which users there are.
#[must_use]
pub fn password_holds(password: &str, hash: Option<&str>) -> bool {
    static NOBODYS: LazyLock<String> = LazyLock::new(|| hash_password("nobody's").unwrap_or_default());
    let parsed = PasswordHash::new(hash.unwrap_or(&NOBODYS));
    let holds =
        parsed.is_ok_and(|parsed| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok());
    holds && hash.is_some()
}

/// SHA-256 of a PAT: what is stored of it.
#[must_use]
pub fn pat_digest(pat: &[u8]) -> PatDigest {
    PatDigest(Sha256::digest(pat).into())
}

/// 32 random bytes.
///
/// # Errors
/// The system has no randomness.
pub fn random() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_holds_for_its_own_hash_and_for_no_other() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(password_holds("correct horse", Some(&hash)));
        assert!(!password_holds("correct hors", Some(&hash)));
        assert!(!password_holds("nobody's", None));
        assert!(!password_holds("x", Some("not a hash")));
        assert_ne!(hash, hash_password("correct horse").unwrap());
    }

    #[test]
    fn a_key_file_is_made_once_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = std::env::temp_dir().join(format!("cube-admin-key-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("fleet.key");
        let made = fleet_key(&path).unwrap();
        assert_eq!(fleet_key(&path).unwrap().node_token(), made.node_token());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "nonsense").unwrap();
        assert!(matches!(fleet_key(&path), Err(KeyFileError::Content { .. })));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
