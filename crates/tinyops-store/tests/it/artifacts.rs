//! Artifacts are whole, named by their digest, and the same wherever they are kept.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tinyops_store::{Artifacts, Digest, StoreError};

async fn on_every_place<F: Future<Output = ()>>(test: impl Fn(Artifacts) -> F) {
    let folder = TempDir::new().unwrap();
    for url in [
        "memory:".to_owned(),
        folder.path().join("made").display().to_string(),
        format!("file:{}", folder.path().display()),
    ] {
        test(Artifacts::open(&url).await.unwrap()).await;
    }
}

#[tokio::test]
async fn what_is_put_is_got() {
    on_every_place(|artifacts| async move {
        let empty = artifacts.put(b"").await.unwrap();
        let bytes = vec![7; 100_000];
        let digest = artifacts.put(&bytes).await.unwrap();
        assert_eq!(artifacts.put(&bytes).await.unwrap(), digest);
        assert_eq!(digest, Digest::of(&bytes));
        assert_eq!(artifacts.get(&digest).await.unwrap(), bytes);
        assert_eq!(artifacts.get(&empty).await.unwrap(), b"");
        let mut both = vec![empty, digest];
        both.sort_unstable();
        assert_eq!(artifacts.list().await.unwrap(), both);
        assert!(artifacts.exists(&digest).await.unwrap());
        artifacts.remove(&digest).await.unwrap();
        artifacts.remove(&digest).await.unwrap();
        assert!(!artifacts.exists(&digest).await.unwrap());
        let missing = artifacts.get(&digest).await;
        assert!(
            matches!(missing, Err(StoreError::Missing { .. })),
            "{missing:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn what_comes_in_parts_is_the_same_artifact_and_goes_in_parts() {
    on_every_place(|artifacts| async move {
        let bytes: Vec<u8> = (0..3_000_000_u32)
            .map(|index| (index % 251) as u8)
            .collect();
        let mut incoming = artifacts.receive().await.unwrap();
        for part in bytes.chunks(70_000) {
            incoming.write(part.to_vec()).await.unwrap();
        }
        let digest = Digest::of(&bytes);
        assert!(
            !artifacts.exists(&digest).await.unwrap(),
            "not before its end"
        );
        assert_eq!(incoming.finish().await.unwrap(), (digest, 3_000_000));
        assert_eq!(artifacts.size(&digest).await.unwrap(), Some(3_000_000));
        let mut outgoing = artifacts.read(&digest).await.unwrap();
        let mut found = Vec::new();
        while let Some(part) = outgoing.next().await.unwrap() {
            found.extend(part);
        }
        assert_eq!(found, bytes);
        assert_eq!(outgoing.next().await.unwrap(), None);
        let mut dropped = artifacts.receive().await.unwrap();
        dropped.write(b"half".to_vec()).await.unwrap();
        drop(dropped);
        assert_eq!(artifacts.list().await.unwrap(), [digest]);
        artifacts.remove(&digest).await.unwrap();
        assert_eq!(artifacts.size(&digest).await.unwrap(), None);
        assert!(matches!(
            artifacts.read(&digest).await,
            Err(StoreError::Missing { .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn a_damaged_artifact_is_found_by_its_name() {
    let folder = TempDir::new().unwrap();
    let artifacts = Artifacts::open(&folder.path().display().to_string())
        .await
        .unwrap();
    let digest = artifacts.put(b"whole").await.unwrap();
    let name = digest.to_string();
    let path: PathBuf = folder.path().join(&name[..2]).join(&name[2..]);
    std::fs::write(&path, b"wh").unwrap();
    let damaged = artifacts.get(&digest).await;
    assert!(
        matches!(damaged, Err(StoreError::DamagedArtifact { .. })),
        "{damaged:?}"
    );
    let mut outgoing = artifacts.read(&digest).await.unwrap();
    assert_eq!(
        outgoing.next().await.unwrap().as_deref(),
        Some(b"wh".as_slice())
    );
    let damaged = outgoing.next().await;
    assert!(
        matches!(damaged, Err(StoreError::DamagedArtifact { .. })),
        "{damaged:?}"
    );
    artifacts.put(b"whole").await.unwrap();
    assert_eq!(
        artifacts.get(&digest).await.unwrap(),
        b"whole",
        "putting it again mends it"
    );
}

#[tokio::test]
async fn half_written_files_are_no_artifacts() {
    let folder = TempDir::new().unwrap();
    let artifacts = Artifacts::open(&folder.path().display().to_string())
        .await
        .unwrap();
    let digest = artifacts.put(b"whole").await.unwrap();
    let fan_out = folder.path().join(&digest.to_string()[..2]);
    std::fs::write(fan_out.join(".0123456789abcdef.1.0"), b"hal").unwrap();
    assert_eq!(artifacts.list().await.unwrap(), [digest]);
    artifacts.sweep(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(std::fs::read_dir(&fan_out).unwrap().count(), 2);
    artifacts.sweep(Duration::ZERO).await.unwrap();
    assert_eq!(
        std::fs::read_dir(&fan_out).unwrap().count(),
        1,
        "half-written files go when they are old enough, whole ones stay"
    );
    assert_eq!(artifacts.get(&digest).await.unwrap(), b"whole");
}

#[tokio::test]
async fn places_that_cannot_be_are_told() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let under_file = Artifacts::open(&file.join("x").display().to_string()).await;
    assert!(under_file.is_err());
    let unknown = Artifacts::open("ftp://host/x").await;
    assert!(
        matches!(unknown, Err(StoreError::Url { .. })),
        "{unknown:?}"
    );
}
