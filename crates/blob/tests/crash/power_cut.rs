//! A power cut: a file system that loses everything not yet on its device, while sixteen tasks write.
//!
//! Needs root, a loop device, ext4 and python3 (for one `ioctl`), so that it is run by name:
//! `cargo test -p umbra-blob --test crash -- --ignored power_cut`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::{Pid, Signal, kill_process};
use umbra_blob::DiskBlobStore;

use super::{Acknowledged, check, run_and_kill, settings};

const CYCLES: u64 = 12;
const IMAGE_BYTES: u64 = 768 << 20;
/// `EXT4_IOC_SHUTDOWN` without a flush of the journal: <https://docs.kernel.org/admin-guide/ext4.html>.
const SHUT_DOWN: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

/// A file system in a file, mounted as long as this lives.
struct FileSystem {
    image: PathBuf,
    at: PathBuf,
}

impl FileSystem {
    fn create(dir: &Path) -> Self {
        let (image, at) = (dir.join("image"), dir.join("mounted"));
        std::fs::create_dir(&at).unwrap();
        std::fs::File::create(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
        let file_system = Self { image, at };
        file_system.mount();
        file_system
    }

    fn mount(&self) {
        run(Command::new("mount").args(["-o", "loop"]).args([&self.image, &self.at]));
    }

    fn unmount(&self) {
        run(Command::new("umount").arg(&self.at));
    }

    /// Drops what is not on the device yet. The file system answers nothing but errors from now on.
    fn cut_power(&self) {
        run(Command::new("python3").args(["-c", SHUT_DOWN]).arg(&self.at));
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.at).status());
    }
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, a loop device, ext4 and python3"]
async fn what_was_acknowledged_survives_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let file_system = FileSystem::create(dir.path());
    let store_dir = file_system.at.join("store");
    let mut all = Acknowledged::new();
    for cycle in 0..CYCLES {
        let words = 1 + (cycle as usize * 67) % 500;
        let acknowledged = run_and_kill(&store_dir, cycle, words, |child| {
            // Frozen first: a real power cut lets nobody hear of what is lost with it.
            let pid = Pid::from_child(child);
            kill_process(pid, Signal::STOP).unwrap();
            while !is_stopped(child.id()) {
                std::thread::yield_now();
            }
            file_system.cut_power();
        });
        file_system.unmount();
        file_system.mount();
        all.extend(acknowledged);
        let store = DiskBlobStore::open(&store_dir, settings()).await.unwrap();
        check(&store, &all).await;
    }
    assert!(all.len() > 500, "{} blobs were acknowledged", all.len());
}

/// Whether every thread of a process has come to rest.
fn is_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).ok()).all(|stat| {
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        matches!(state, Some('T' | 'Z'))
    })
}
