use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use serde::Serialize;
use tinyops_fleet::{
    KeyFolder, Keyring, Policy,
    enrol::Entropy,
    ladder::RepairPolicy,
    masked::{Mode, PrivacyPolicy, SumHelper},
    round::RoundPolicy,
};
use tinyops_pipeline::{PrivacyMode, Project};
use tinyops_server::{Config, Loops, serve};
use tinyops_wire::downlink::Restandardize;

use crate::{
    cmd::helper::RemoteHelper,
    config::Setting,
    context::Context,
    endpoint::{Endpoint, Protocol, read_token},
    failure::{Exit, Failure},
    listening::{TlsFlags, hangups, stop_asked},
};

/// Serve the API, the pages and MQTT, and turn both loops
///
/// Devices register and report; drift makes statistics rounds, rounds make pipeline runs, runs make rollouts.
/// When HTTP is not on loopback, every call needs a token: `tinyops tokens` makes them, and `.tinyops/admin.token`
/// holds the first one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops serve --http 0.0.0.0:8420 --mqtt 0.0.0.0:1883")]
pub(crate) struct Serve {
    /// Where HTTP listens [default: 127.0.0.1:8420]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Where MQTT listens [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDRESS")]
    mqtt: Option<SocketAddr>,
    #[command(flatten)]
    tls: TlsFlags,
    /// Where the helper of secure sums is: HOST:PORT, or https://HOST:PORT; without it masked reports wait
    #[arg(long, value_name = "URL", requires = "helper_token_file")]
    helper: Option<String>,
    /// File with the token that the helper asks for
    #[arg(long, value_name = "FILE", requires = "helper")]
    helper_token_file: Option<PathBuf>,
    /// PEM file of those who sign the helper's certificate, for https
    #[arg(long, value_name = "FILE", requires = "helper")]
    helper_ca: Option<PathBuf>,
    /// Only listen: rollouts stand still and triggers wait
    #[arg(long)]
    no_loops: bool,
}

#[derive(Serialize)]
struct View {
    http: String,
    mqtt: Option<String>,
}

pub(crate) async fn run(context: &Context, args: &Serve) -> Result<(), Failure> {
    let terminal = context.terminal;
    let helper = helper(args)?;
    let workshop = context.workshop().await?;
    let folder = context.root.join(".tinyops");
    std::fs::create_dir_all(&folder).map_err(|error| {
        Failure::environment(format!("cannot make `{}`", folder.display())).cause(&error)
    })?;
    let privacy = &workshop.project.privacy;
    if helper.is_some() && privacy.mode == Some(PrivacyMode::Local) {
        return Err(Failure::question(
            "`mode = \"local\"` under `[privacy]` has no use for `--helper`: devices report under noise of their own",
        )
        .hint("with a helper `mode = \"masked\"` sees more through less noise; without one, leave `--helper` out"));
    }
    if let Some(remark) = privacy.remark() {
        terminal.note(remark);
    }
    let policy = policy(&workshop.project);
    let running = serve(Config {
        http: address(args.http, &context.settings.http)?,
        mqtt: Some(address(args.mqtt, &context.settings.mqtt)?),
        workshop,
        policy,
        keys: open_keys(&folder)?,
        key_folder: Some(folder.clone()),
        admin_token: folder.join("admin.token"),
        tls: args.tls.files(),
        helper,
        loops: Loops {
            enabled: !args.no_loops,
            tick: Duration::from_secs(1),
        },
    })
    .await
    .map_err(|error| Failure::of(Exit::Environment, &error))?;
    let s = args.tls.s();
    let view = View {
        http: format!("http{s}://{}", running.http),
        mqtt: running.mqtt.map(|address| format!("mqtt{s}://{address}")),
    };
    terminal.answer(&view, || {
        format!(
            "Pages and API: {}\nDevices:       {}\n",
            view.http,
            view.mqtt.as_deref().unwrap_or("HTTP only")
        )
    });
    terminal.note("Ctrl-C stops the server; what was acknowledged is stored.");
    tokio::select! {
        () = stop_asked() => {}
        () = hangups(|| running.reload()) => {}
    }
    running.stop().await;
    Ok(())
}

/// How the project wants its fleet judged.
pub(crate) fn policy(project: &Project) -> Policy {
    let repair = &project.repair;
    let back = repair.restandardize * f64::from(Restandardize::SIXTEENTHS);
    Policy {
        privacy: PrivacyPolicy {
            mode: match project.privacy.mode {
                None | Some(PrivacyMode::Plain) => Mode::Any,
                Some(PrivacyMode::Masked) => Mode::Masked,
                Some(PrivacyMode::Local) => Mode::Local,
            },
            noise: project.privacy.noise,
            ..PrivacyPolicy::default()
        },
        round: RoundPolicy {
            restandardize_sixteenths: back.round() as u8,
            keep_sums_ms: i64::from(project.privacy.keep_sums_days) * 24 * 3_600_000,
            ..RoundPolicy::default()
        },
        repair: RepairPolicy {
            device_bytes_max: repair.device_bytes_max,
            annotator: repair.annotator_key(),
            windows: repair.windows,
            windows_of: repair.windows_of,
            labelled_min: repair.labelled_min,
            verdict_windows_min: repair.verdict_windows.into(),
            verdict_within_ms: i64::from(repair.verdict_days) * 24 * 3_600_000,
            ..RepairPolicy::default()
        },
        own_heads: repair.personal_head,
        ..Policy::default()
    }
}

/// The helper that the flags name.
fn helper(args: &Serve) -> Result<Option<Arc<dyn SumHelper>>, Failure> {
    let (Some(url), Some(file)) = (&args.helper, &args.helper_token_file) else {
        return Ok(None);
    };
    let ca = args.helper_ca.as_deref();
    let endpoint = Endpoint::parse(Protocol::Http, url, ca)?;
    Endpoint::check_ca(ca, &[&endpoint])?;
    Ok(Some(Arc::new(RemoteHelper::new(
        endpoint,
        read_token(file)?,
    ))))
}

/// The keys of a project, made on first use.
pub(crate) fn open_keys(folder: &std::path::Path) -> Result<Keyring, Failure> {
    Ok(KeyFolder::new(folder).open_or_make(seed)?)
}

/// Secret bytes that a key grows from.
pub(crate) fn seed() -> [u8; 32] {
    let [seed @ .., _, _, _, _, _, _, _, _] = Entropy::from_system().0;
    seed
}

fn address(flag: Option<SocketAddr>, setting: &Setting) -> Result<SocketAddr, Failure> {
    match flag {
        Some(address) => Ok(address),
        None => setting.value.parse().map_err(|_| {
            Failure::question(format!(
                "`{}` from {} is no address",
                setting.value, setting.from
            ))
            .hint("an address is like 127.0.0.1:8420")
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_project_says_how_its_fleet_is_judged() {
        let of = |text: &str| policy(&Project::parse(text, Path::new("tinyops.toml")).unwrap());
        assert_eq!(of(""), Policy::default());
        let said = of(
            "[privacy]\nmode = \"masked\"\nnoise = 5.0\n[repair]\nrestandardize = 0.5\npersonal_head = true\n",
        );
        assert_eq!(said.privacy.mode, Mode::Masked);
        let local = of("[privacy]\nmode = \"local\"\n");
        assert_eq!(local.privacy.mode, Mode::Local);
        assert_eq!(said.privacy.noise, 5.0);
        assert_eq!(said.round.restandardize_sixteenths, 8);
        assert!(said.own_heads);
        let key = "ab".repeat(32);
        let text = format!(
            "[repair]\nannotator = \"{key}\"\ndevice_bytes_max = 9\nwindows = 3\nverdict_days = 2\n"
        );
        let repair = of(&text).repair;
        assert_eq!(
            (repair.annotator, repair.device_bytes_max, repair.windows),
            (Some([0xab; 32]), 9, 3)
        );
        assert_eq!(repair.verdict_within_ms, 2 * 24 * 3_600_000);
    }
}
