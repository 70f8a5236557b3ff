//! What verbs that listen share: TLS by two flags, and how they hear that they shall stop, or look at their files.

use std::path::PathBuf;

use tinyops_server::TlsFiles;

/// Makes listeners speak TLS.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TlsFlags {
    /// Certificate in PEM, with those it is signed by: what listens speaks TLS and nothing else, and takes up a renewed one
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl TlsFlags {
    /// The two files, if they are named.
    pub(crate) fn files(&self) -> Option<TlsFiles> {
        let (certificate, key) = self.tls_cert.clone().zip(self.tls_key.clone())?;
        Some(TlsFiles { certificate, key })
    }

    /// A scheme's last letter.
    pub(crate) fn s(&self) -> &'static str {
        match self.tls_cert {
            Some(_) => "s",
            None => "",
        }
    }
}

/// Waits for Ctrl-C, or for the signal that service managers send.
pub(crate) async fn stop_asked() {
    let interrupted = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        let mut terminated =
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Ok(signal) => signal,
                Err(_) => {
                    let _ = interrupted.await;
                    return;
                }
            };
        tokio::select! {
            _ = interrupted => {}
            _ = terminated.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = interrupted.await;
}

/// Lets a server look at its files at every SIGHUP, for ever; it looks by itself every second, too.
pub(crate) async fn hangups(reload: impl Fn()) {
    #[cfg(unix)]
    if let Ok(mut hangups) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
    {
        while hangups.recv().await.is_some() {
            reload();
        }
    }
    let _ = reload;
    std::future::pending().await
}
