//! Umbra: a self-hosted S3-compatible object store whose buckets can shadow a bucket elsewhere.

mod bench;
mod blob_place;
mod cli;
mod data_dir;
mod kms_keys;
mod listen;
mod master_key;
mod open_files;
mod private_file;
mod region_blobs;
mod region_map;
mod reload;
mod root_key;
mod settings;
mod shutdown;
mod telemetry;
mod tls;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
