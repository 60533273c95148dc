//! What the clients share: where things are, the tree of files, and a line of JSON for every step.

use std::{
    env,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::json;

/// What a step ends with.
pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The size of a part of a multipart upload, the smallest that S3 allows.
pub const PART: usize = 5 << 20;

/// How many files are moved at once.
pub const AT_ONCE: usize = 16;

/// The server, the bucket and the files, as `run` names them in the environment.
pub struct Place {
    /// The server's S3 address.
    pub endpoint: String,
    /// The client's own bucket.
    pub bucket: String,
    /// The access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// A small file's content.
    pub small: Vec<u8>,
    /// Where the large file is.
    pub large_path: PathBuf,
    /// The large file's content: several parts.
    pub large: Vec<u8>,
    /// A directory of files to copy up.
    pub tree: PathBuf,
    /// An empty directory to copy them back to.
    pub back: PathBuf,
}

impl Place {
    /// Reads the environment.
    pub fn from_environment() -> Outcome<Self> {
        // reqwest makes no client without one, although nothing here speaks TLS.
        drop(rustls::crypto::ring::default_provider().install_default());
        let named = |name: &str| env::var(name).map_err(|error| format!("{name}: {error}"));
        let large_path = PathBuf::from(named("LARGE")?);
        Ok(Self {
            endpoint: named("S3_ENDPOINT")?,
            bucket: named("S3_BUCKET")?,
            access_key: named("AWS_ACCESS_KEY_ID")?,
            secret_key: named("AWS_SECRET_ACCESS_KEY")?,
            small: fs::read(named("SMALL")?)?,
            large: fs::read(&large_path)?,
            large_path,
            tree: named("TREE")?.into(),
            back: named("BACK")?.into(),
        })
    }
}

/// Does one thing, and prints its name, what went wrong, and the seconds it took.
pub async fn step(name: &str, action: impl Future<Output = Outcome>) {
    let begun = Instant::now();
    let wrong = action.await.err().map(|error| chain(error.as_ref()));
    println!("{}", json!([name, wrong, begun.elapsed().as_secs_f64()]));
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Fails unless `holds`.
pub fn ensure(holds: bool, otherwise: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise.into().into()) }
}

/// Fails unless both are the same bytes.
pub fn same(got: &[u8], expected: &[u8]) -> Outcome {
    ensure(got == expected, format!("{} bytes are not the {} expected", got.len(), expected.len()))
}

/// Every file below `root`, by its name from there.
pub fn files(root: &Path) -> io::Result<Vec<String>> {
    let (mut found, mut left) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
                found.push(name.to_owned());
            }
        }
    }
    Ok(found)
}

/// Writes a file that came back, with the directories it needs.
pub async fn bring_back(back: &Path, name: &str, content: &[u8]) -> Outcome {
    let path = back.join(name);
    if let Some(directory) = path.parent() {
        tokio::fs::create_dir_all(directory).await?;
    }
    Ok(tokio::fs::write(path, content).await?)
}
