//! What an operator can set, in one place.
//!
//! Every setting is declared once, below, with its default, and its documentation: it is a flag of `umbra serve`, an environment
//! variable, a key of the settings file and a line of `umbra settings --print-default`. Flags win over the environment, the
//! environment over the file, the file over the defaults.

mod check;
mod declare;
mod load;
mod metadata_url;
mod print;

use std::{net::SocketAddr, path::PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use declare::declare_settings;
pub(crate) use load::SettingsError;
pub(crate) use metadata_url::MetadataUrl;
pub(crate) use print::{print_default, print_effective, tell_defaults};

declare_settings! {
    /// Where everything is kept: metadata, blobs, and the two key files. Created if it does not exist.
    ///
    /// Put it on the fastest durable disk there is: every acknowledged write has been flushed to it.
    data_dir: PathBuf = PathBuf::from("./umbra-data"), [env = "UMBRA_DATA_DIR", value_name = "DIR"];

    /// Where metadata is kept: nothing for the data directory, or a database as `postgres://USER@HOST:PORT/DATABASE`.
    ///
    /// PostgreSQL 15 or newer, or a database that speaks its protocol; the tables are made at the first start. The connection is by TLS
    /// and the host's name is verified, unless the host is this machine or `?sslmode=disable` is said; `?sslrootcert=FILE` names the
    /// authorities to believe. Several servers may share one: see `node_listen`. Keep the password out of the command line, where others see it:
    /// `metadata_password_file`, this variable or PGPASSWORD. The key-encryption key stays in the data directory.
    metadata: MetadataUrl = MetadataUrl::default(), [env = "UMBRA_METADATA", value_name = "URL", hide_env_values = true];

    /// A file with the password for the database of `metadata`, readable by its owner alone.
    metadata_password_file: PathBuf = PathBuf::new(), [env = "UMBRA_METADATA_PASSWORD_FILE", value_name = "FILE"];

    /// How many connections to the database of `metadata` there are at most.
    metadata_connections: u32 = 24, [env = "UMBRA_METADATA_CONNECTIONS", value_name = "COUNT"];

    /// A standby of the database of `metadata` in this region, which reads go to as long as nobody can tell the difference: `postgres://USER@HOST:PORT/DATABASE`.
    ///
    /// A streaming replica of PostgreSQL, one host. Every node of a region needs the same one. With it a read in a region that is far from the
    /// database does not cross the distance, and what was written in a region is seen there at once. While it lags or is away reads go to
    /// `metadata`; while that is away what the replica has is still answered. It takes the password of `metadata_password_file` or PGPASSWORD
    /// if its URL has none, and as many connections as `metadata_connections` says.
    metadata_replica: MetadataUrl = MetadataUrl::default(), [env = "UMBRA_METADATA_REPLICA", value_name = "URL", hide_env_values = true];

    /// Where contents are kept, if not in `blobs` in the data directory: `s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=NAME`.
    ///
    /// The bucket must exist; any S3-compatible engine will do, and how durable an acknowledged write is, is then its word. PREFIX may be
    /// left out, `region` is `auto` without being said, `endpoint` may be left out for a region of Amazon's, and `&addressing=path` or
    /// `virtual-host` says how the bucket is named in requests. The key is taken from UMBRA_BLOBS_ACCESS_KEY and
    /// UMBRA_BLOBS_SECRET_KEY, or from `blobs_key_file`. What shadows may point at does not limit it. A data directory stays
    /// with the place it began with.
    blobs: String = String::new(), [env = "UMBRA_BLOBS", value_name = "URL"];

    /// A file with the key for `blobs`: JSON with `access_key` and `secret_key`, readable by its owner alone.
    blobs_key_file: PathBuf = PathBuf::new(), [env = "UMBRA_BLOBS_KEY_FILE", value_name = "FILE"];

    /// A file with certificate authorities, in PEM, to trust at the endpoint of `blobs` besides the public ones.
    blobs_ca: PathBuf = PathBuf::new(), [env = "UMBRA_BLOBS_CA", value_name = "FILE"];

    /// How many bytes of the contents of `blobs` are kept in `blob-cache` in the data directory; 0 for none. Without `blobs` there is no cache.
    ///
    /// Never more than four fifths of what the disk has free at the start. It begins empty at every start. Its index takes up to a half per
    /// cent of it in memory when all that is kept is small.
    blob_cache_bytes: u64 = 10 << 30, [env = "UMBRA_BLOB_CACHE_BYTES", value_name = "BYTES"];

    /// The address that takes S3 requests. Port 0 takes any free port and prints it.
    ///
    /// The default is reached from this machine only. A server that listens wider should have a certificate, and then no
    /// longer lets shadows point at this machine unless `shadow_allow_cidr` does.
    listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9000)), [env = "UMBRA_LISTEN", value_name = "ADDR"];

    /// The address of the admin API, of `/readyz`, `/healthz` and `/metrics`.
    ///
    /// Its calls are signed and carry the secrets of origins: do not open it to a network without a certificate.
    admin_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9001)), [env = "UMBRA_ADMIN_LISTEN", value_name = "ADDR"];

    /// The URL that clients are told to use, when it is not the address listened on: behind a proxy, or with a name.
    ///
    /// It is what `umbra storage create` prints as AWS_ENDPOINT_URL_S3. By default it is made from `listen`.
    public_url: String = String::new(), [env = "UMBRA_PUBLIC_URL", value_name = "URL"];

    /// The name of this server's region, as clients are told to sign for.
    ///
    /// Any region is accepted in a signature. Where `region_blobs` names other regions, contents are at home in the one that took them.
    region: String = "auto".to_owned(), [env = "UMBRA_REGION", value_name = "NAME"];

    /// The contents of another region, as NAME=s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=NAME. Give every other region.
    ///
    /// It needs `metadata`, `blobs` and `region`. What is written here stays here, unless its bucket lives elsewhere; what other regions have is fetched from there once, and a copy
    /// kept in `blobs`. Every region needs a prefix or bucket of a name of its own. Without it there are no regions, and nothing of this.
    region_blobs: Vec<String> = Vec::new(), [env = "UMBRA_REGION_BLOBS", value_name = "NAME=URL", value_delimiter = ','];

    /// A file with the key for another region's contents, as NAME=FILE, of the form of `blobs_key_file`. Otherwise the key of `blobs` is used.
    region_blobs_key_file: Vec<String> = Vec::new(), [env = "UMBRA_REGION_BLOBS_KEY_FILE", value_name = "NAME=FILE", value_delimiter = ','];

    /// Where clients reach a region, as NAME=https://HOST or NAME=http://HOST:PORT. Give it for every region, this one too. For `region_map`.
    ///
    /// Whoever says the host of a region is answered where it came in. So these are not the name that all clients begin with, but names below
    /// it, as fra.s3.example below s3.example: then more kinds of clients go where they are sent.
    region_url: Vec<String> = Vec::new(), [env = "UMBRA_REGION_URL", value_name = "NAME=URL", value_delimiter = ','];

    /// A file that says which region is nearest to a client, which is then sent there: lines `NETWORK,REGION`, or a MaxMind database (.mmdb) that tells places.
    ///
    /// The smallest network that has a client's address says; a database wants `region_at`. Who asks is sent by S3's 307 `TemporaryRedirect`,
    /// as far as it can go (`region_redirect`), and never to a region without a node that lives. The address is the one of the connection:
    /// behind a balancer that hides it there is nothing to tell clients apart. Read again on SIGHUP.
    region_map: PathBuf = PathBuf::new(), [env = "UMBRA_REGION_MAP", value_name = "FILE"];

    /// Where on earth a region is, in degrees, as NAME=LATITUDE,LONGITUDE: for a `region_map` that tells places. May be given more than once.
    region_at: Vec<String> = Vec::new(), [env = "UMBRA_REGION_AT", value_name = "NAME=LAT,LON", value_delimiter = ';'];

    /// Which requests `region_map` sends elsewhere: reads without a signature (`unsigned`), or signed ones of all kinds too (`all`).
    ///
    /// Every client goes where a read without a signature is sent. Many that sign do not, and fail: see docs/operations.md for which.
    region_redirect: RegionRedirect = RegionRedirect::Unsigned, [env = "UMBRA_REGION_REDIRECT", value_name = "WHICH"];

    /// A geography: several regions near each other, as NAME=REGION,REGION in order of preference. Several, in one variable, are parted by semicolons.
    ///
    /// Buckets with the location `multi:NAME` live in two of its regions. All nodes should be told the same. Without being told there are usa,
    /// of sjc, ord and iad, and eur, of ams, fra and lhr, as far as the store has these regions.
    geography: Vec<String> = Vec::new(), [env = "UMBRA_GEOGRAPHY", value_name = "NAME=REGION,REGION", value_delimiter = ';'];

    /// How long reads are counted before a content's home may move to the region that reads it most, in seconds; 0: homes do not move.
    ///
    /// It moves to one that reads it at least 8 times in that time, and twice as often as every other region, when all have counted for two such
    /// times; then it stays for at least 24. Contents of buckets with a location of their own do not move so. All nodes should be told the same.
    home_window: u64 = 3600, [env = "UMBRA_HOME_WINDOW", value_name = "SECONDS"];

    /// How long a copy of another region's contents stays that nobody reads, in seconds; 0: as long as its object.
    ///
    /// Copies that a bucket's location asks for stay. That one was read is noted at most once a day: a copy may go that much earlier.
    copy_idle: u64 = 2_592_000, [env = "UMBRA_COPY_IDLE", value_name = "SECONDS"];

    /// The address at which the other nodes of a store reach this one; for several servers on one metadata database.
    ///
    /// It speaks HTTP without TLS: it belongs on a network of the nodes' own. Requests on it are known by the store's key-encryption key.
    node_listen: String = String::new(), [env = "UMBRA_NODE_LISTEN", value_name = "ADDR"];

    /// The URL that the other nodes are told to use for `node_listen`, when it is not the address listened on.
    node_url: String = String::new(), [env = "UMBRA_NODE_URL", value_name = "URL"];

    /// The domain under which buckets are reached as host names: BUCKET.DOMAIN.
    ///
    /// It needs a wildcard entry in the DNS, and a wildcard certificate for TLS. Path-style requests always work.
    domain: String = String::new(), [env = "UMBRA_DOMAIN", value_name = "DOMAIN"];

    /// The address that shows buckets as websites: those that have a website configuration, to anybody, as far as they are public.
    ///
    /// Off by default. It speaks TLS where the others do. What is read there is judged as a request without a signature.
    website_listen: String = String::new(), [env = "UMBRA_WEBSITE_LISTEN", value_name = "ADDR"];

    /// The domain under which buckets are websites: BUCKET.DOMAIN. Any other host name is that of its bucket.
    ///
    /// Without it the bucket is named by the whole host name or, where there is none of that name, by its first label.
    website_domain: String = String::new(), [env = "UMBRA_WEBSITE_DOMAIN", value_name = "DOMAIN"];

    /// Whether requests may be signed in the old way, version 2, which some clients from before 2014 cannot do without.
    ///
    /// Its signatures rest on SHA-1 and cover neither the body nor most headers: whoever reads a request on the way can change it.
    /// Leave it off unless such a client has to be served, and then use TLS.
    allow_sigv2: bool = false, [env = "UMBRA_ALLOW_SIGV2", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true"];

    /// The certificate chain, in PEM, for S3 and admin alike. Read again on SIGHUP.
    ///
    /// With it both addresses speak TLS only; without it neither does.
    tls_cert: PathBuf = PathBuf::new(), [env = "UMBRA_TLS_CERT", value_name = "FILE"];

    /// The private key of the certificate, in PEM. Read again on SIGHUP.
    tls_key: PathBuf = PathBuf::new(), [env = "UMBRA_TLS_KEY", value_name = "FILE"];

    /// A network that shadows may point into although it is private, as 10.1.0.0/16. May be given more than once.
    ///
    /// Whoever may create buckets may make this server connect into these networks. Private and loopback networks are closed
    /// by default, except that a server that listens on loopback alone may shadow what listens there too. Link-local
    /// addresses, where clouds keep their metadata services, are never open.
    shadow_allow_cidr: Vec<String> = Vec::new(), [env = "UMBRA_SHADOW_ALLOW_CIDR", value_name = "CIDR", value_delimiter = ','];

    /// A web hook that buckets may name as a receiver of events, as NAME=URL. May be given more than once.
    ///
    /// In a bucket's notification configuration it is the ARN `arn:umbra:sqs::NAME:webhook`. Its URL may be anywhere but at link-local addresses.
    webhook: Vec<String> = Vec::new(), [env = "UMBRA_WEBHOOK", value_name = "NAME=URL", value_delimiter = ','];

    /// How much memory the copies of cold objects may hold together while they arrive, in MiB.
    ///
    /// More lets more cold objects arrive at once; a tenth of the machine's memory is a good start.
    hydration_memory_mib: u64 = 64, [env = "UMBRA_HYDRATION_MEMORY_MIB", value_name = "MIB"];

    /// How many S3 connections are served at once. More wait until one of these ends; an idle one ends after 30 s.
    ///
    /// Each takes a file descriptor, and up to a few MiB of memory while it carries a body. The server raises its own limit on open
    /// files as far as the system lets it, and takes no more connections than three quarters of what it then has.
    max_connections: u32 = 8192, [env = "UMBRA_MAX_CONNECTIONS", value_name = "COUNT"];

    /// How often every bucket is looked through whether its bytes are in the regions that its location wants them in, in seconds; 0 for never.
    ///
    /// It finds copies that were lost at their engine, and drops what is where it may not be. A change of location is seen to at once, and so
    /// is what `umbra storage place` asks for. It reads every record of a bucket, and one byte of each copy that has to be there.
    placement_audit: u64 = 86400, [env = "UMBRA_PLACEMENT_AUDIT", value_name = "SECONDS"];

    /// How long content stays on the disk after it was overwritten or deleted, in seconds.
    ///
    /// Readers who began before go on meanwhile: shorter gives space back sooner, and cuts off the slowest of them.
    reclaim_grace: u64 = 300, [env = "UMBRA_RECLAIM_GRACE", value_name = "SECONDS"];

    /// How long a day of a lifecycle rule is, in seconds. For tests: rules then fall due within a sitting.
    ///
    /// With any other value than the default nothing is rounded to midnight. What clients are told in `x-amz-expiration` stays in days of
    /// the calendar.
    lifecycle_day: u64 = 86_400, [env = "UMBRA_LIFECYCLE_DAY", value_name = "SECONDS"];

    /// How long a line of an access log waits for others before they are written to their bucket, in seconds.
    ///
    /// Shorter brings logs sooner, in more and smaller objects. A crash loses the lines that waited; a stop in order writes them.
    access_log_interval: u64 = 300, [env = "UMBRA_ACCESS_LOG_INTERVAL", value_name = "SECONDS"];

    /// Whether `/metrics` has series for each bucket with a shadow, the first hundred by name.
    ///
    /// Whoever reaches the admin address may read them without a key, and learns the names of these buckets.
    metrics_buckets: bool = true, [env = "UMBRA_METRICS_BUCKETS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true"];

    /// A key that objects and buckets may name for SSE-KMS: NAME, or NAME=FILE. May be given more than once.
    ///
    /// A name alone is derived from the store's key-encryption key. A file holds 64 hexadecimal digits; it must be kept as long as
    /// anything is encrypted with the key, and is read at the start. The key `aws/s3` is always there. What was encrypted with a key that
    /// is no longer listed cannot be read until it is listed again.
    kms_key: Vec<String> = Vec::new(), [env = "UMBRA_KMS_KEY", value_name = "NAME", value_delimiter = ','];

    /// A file with the key-encryption key, 64 hexadecimal digits, readable by its owner alone. Otherwise UMBRA_MASTER_KEY, or `secret.key` in the data directory.
    ///
    /// All servers that use one database need the same. Without it secrets and encrypted content cannot be read again.
    master_key_file: PathBuf = PathBuf::new(), [env = "UMBRA_MASTER_KEY_FILE", value_name = "FILE"];

    /// How long requests may take to finish after SIGTERM or SIGINT, in seconds. What is left then is cut off.
    ///
    /// Longer lets big uploads finish; the supervisor must be as patient.
    drain_secs: u64 = 30, [env = "UMBRA_DRAIN_SECS", value_name = "SECONDS"];

    /// What is logged, on standard error: a level, or targets with levels, as `info,umbra_shadow=debug`.
    ///
    /// `debug` writes a line per request, which costs throughput.
    log: String = "info".to_owned(), [env = "UMBRA_LOG", value_name = "FILTER"];

    /// How log lines look: `human`, or `json` for a collector.
    log_format: LogFormat = LogFormat::Human, [env = "UMBRA_LOG_FORMAT", value_name = "FORMAT"];
}

/// Which requests are sent to a region that is nearer to their client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RegionRedirect {
    /// Reads without a signature.
    Unsigned,
    /// Signed ones too.
    All,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// For programs.
    Json,
}

impl Settings {
    /// Whether the addresses speak TLS.
    pub(crate) fn has_tls(&self) -> bool {
        !self.tls_cert.as_os_str().is_empty()
    }

    /// The address for other nodes, if there is to be one.
    pub(crate) fn node_listen(&self) -> Option<SocketAddr> {
        self.node_listen.parse().ok()
    }

    /// The address of websites, if there is to be one.
    pub(crate) fn website_listen(&self) -> Option<SocketAddr> {
        self.website_listen.parse().ok()
    }
}

#[cfg(test)]
mod tests;
