//! Boards in the air: a Bluetooth LE controller over HCI, the service that boards advertise (`tinyops-ble`), and each board
//! as a line of its own.

use std::{
    cell::RefCell, collections::VecDeque, convert::Infallible, fmt, future::Future, io, path::Path,
    pin::pin, time::Duration,
};

use bt_hci::param::LeAdvReportsIter;
// Its locks are linked in, and nobody calls them here.
use critical_section as _;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tinyops_ble::{DOWN, Guarded, PIECE_BYTES, SERVICE, UP, WINDOW};
use tinyops_fleet::enrol::Entropy;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    runtime::{Builder, Handle},
    sync::{Notify, oneshot},
    time::timeout,
};
use trouble_host::prelude::*;

use super::{
    backoff::Backoff,
    h4::{H4, H4Error},
    line::{self, Ends, Lines},
};
use crate::endpoint::Endpoint;

/// Boards at once: what a controller keeps well, and the one in Nordic's dongle.
const BOARDS_MAX: usize = 8;
/// A board that has been heard is there or gone within this.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A board has said what it offers within this, or is none of ours.
const MEET_WITHIN: Duration = Duration::from_secs(30);
/// Boards that have been heard and wait to be connected.
const SEEN_MAX: usize = 64;
/// Commands under way at once.
const COMMANDS: usize = 4;
/// Where a controller is.
#[derive(Clone, Debug)]
pub(super) enum Radio {
    /// An adapter of this machine's, by its number: no other program has it meanwhile.
    Adapter(u16),
    /// A controller on a serial port (H4), at this speed.
    Tty(std::path::PathBuf, u32),
    /// One at the other end of a TCP stream (H4).
    Tcp(Endpoint),
}

impl fmt::Display for Radio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Radio::Adapter(number) => write!(f, "hci{number}"),
            Radio::Tty(path, _) => write!(f, "{}", path.display()),
            Radio::Tcp(endpoint) => write!(f, "{endpoint}"),
        }
    }
}

impl Radio {
    /// What `--ble` names: `hci0`, the path of a serial port, or where a TCP stream leads.
    pub(super) fn parse(
        text: &str,
        baud: u32,
        tcp: impl FnOnce() -> Result<Endpoint, crate::failure::Failure>,
    ) -> Result<Radio, crate::failure::Failure> {
        let number = text
            .strip_prefix("hci")
            .and_then(|number| number.parse().ok());
        if let Some(number) = number {
            return Ok(Radio::Adapter(number));
        }
        match Path::new(text).is_absolute() {
            true => Ok(Radio::Tty(text.into(), baud)),
            false => tcp().map(Radio::Tcp),
        }
    }

    async fn open(&self) -> io::Result<Ends> {
        match self {
            Radio::Adapter(number) => adapter(*number),
            Radio::Tty(path, baud) => Ends::of_port(path, *baud),
            Radio::Tcp(endpoint) => Ok(Ends::of(endpoint.connect().await?)),
        }
    }
}

#[cfg(target_os = "linux")]
fn adapter(number: u16) -> io::Result<Ends> {
    let socket = bt_hci_linux::Socket::new(number).map_err(|error| {
        let why = match error.raw_os_error() {
            // EPERM and EACCES.
            Some(1 | 13) => "taking an adapter needs CAP_NET_ADMIN: start as root, or `setcap cap_net_admin+ep` the program",
            // EBUSY.
            Some(16) => "another program has the adapter: `bluetoothctl power off`, or stop the Bluetooth service",
            // ENODEV.
            Some(19) => "there is no such adapter",
            // EAFNOSUPPORT.
            Some(97) => "this kernel has no Bluetooth; a controller on a serial port or a TCP stream serves",
            _ => return error,
        };
        io::Error::new(error.kind(), why)
    })?;
    let (reader, writer) = tokio::io::split(socket);
    Ok(Ends {
        reader: Box::new(reader),
        writer: Box::new(writer),
    })
}

#[cfg(not(target_os = "linux"))]
fn adapter(_number: u16) -> io::Result<Ends> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "adapters are taken on Linux only; a controller on a serial port or a TCP stream serves elsewhere",
    ))
}

/// Keeps a radio for ever: when it fails or is not there, it is opened again.
pub(super) async fn keep(radio: Radio, lines: Lines) {
    let mut backoff = Backoff::default();
    loop {
        let name = radio.to_string();
        let (says, ended) = oneshot::channel();
        let (opened, carrier, of_lines) = (radio.clone(), Handle::current(), lines.clone());
        // The host's parts stay on one thread. It ends when the controller does, or with the process.
        let thread = std::thread::Builder::new().name(format!("ble {name}"));
        let begun = std::time::Instant::now();
        let started = thread.spawn(move || {
            let Err(why) = gather(&opened, &of_lines, &carrier);
            let _ = says.send(why);
        });
        let why = match started {
            Ok(_) => ended
                .await
                .unwrap_or_else(|_| "the host gave up on what the controller said".to_owned()),
            Err(error) => error.to_string(),
        };
        tracing::warn!(radio = name, %why, "no radio");
        if begun.elapsed() > Duration::from_secs(60) {
            backoff = Backoff::default();
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Opens a controller, and carries boards until it fails; answers with why it did.
fn gather(radio: &Radio, lines: &Lines, carrier: &Handle) -> Result<Infallible, String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let ends = radio.open().await.map_err(|error| error.to_string())?;
        tracing::info!(%radio, "open");
        let controller = Guarded(ExternalController::new(H4::new(ends.reader, ends.writer)));
        central(controller, lines, carrier)
            .await
            .map_err(|error| match error {
                BleHostError::Controller(error) => error.to_string(),
                BleHostError::BleHost(error) => format!("{error:?}"),
            })
    })
}

type Adapter = Guarded<ExternalController<H4, COMMANDS>>;
type Fault = BleHostError<H4Error>;

/// Looks for boards, connects to each, and carries its bytes.
async fn central(
    controller: Adapter,
    lines: &Lines,
    carrier: &Handle,
) -> Result<Infallible, Fault> {
    let mut resources: Box<HostResources<DefaultPacketPool, BOARDS_MAX, { 2 * BOARDS_MAX }>> =
        Box::new(HostResources::new());
    let [a, b, c, d, e, f, ..] = Entropy::from_system().0;
    let stack = trouble_host::new(controller, &mut resources)
        .set_random_address(Address::random([a, b, c, d, e, f | 0xc0]))
        .build();
    let seen = Seen::default();
    let mut runner = stack.runner();
    let connects = async {
        let mut central = stack.central();
        let mut boards = FuturesUnordered::new();
        loop {
            if boards.len() >= BOARDS_MAX {
                boards.next().await;
                continue;
            }
            let looks = ScanConfig {
                active: false,
                interval: embassy_time::Duration::from_millis(100),
                window: embassy_time::Duration::from_millis(50),
                ..ScanConfig::default()
            };
            seen.clear();
            let address = beside(&mut boards, async {
                let session = Scanner::new(&mut central).scan(&looks).await?;
                let address = seen.next().await;
                session.stop().await;
                Ok::<_, Fault>(address)
            });
            let address = address.await?;
            let wanted = ConnectConfig {
                scan_config: ScanConfig {
                    filter_accept_list: &[address],
                    ..looks
                },
                connect_params: RequestedConnParams {
                    min_connection_interval: embassy_time::Duration::from_millis(15),
                    max_connection_interval: embassy_time::Duration::from_millis(30),
                    supervision_timeout: embassy_time::Duration::from_secs(4),
                    ..RequestedConnParams::default()
                },
            };
            let connected = beside(
                &mut boards,
                timeout(CONNECT_WITHIN, central.connect(&wanted)),
            );
            match connected.await {
                Ok(Ok(connection)) => boards.push(board(&stack, connection, lines, carrier)),
                Ok(Err(BleHostError::Controller(error))) => {
                    return Err(BleHostError::Controller(error));
                }
                Ok(Err(BleHostError::BleHost(why))) => {
                    tracing::warn!(%address, ?why, "a board was heard, and not reached");
                }
                Err(_) => tracing::warn!(%address, "a board was heard, and not reached in time"),
            }
        }
    };
    tokio::select! {
        ended = runner.run_with_handler(&seen) => Err(ended.err().unwrap_or(Error::Disconnected.into())),
        ended = connects => ended,
    }
}

/// Awaits something while boards' bytes go on.
async fn beside<T>(
    boards: &mut FuturesUnordered<impl Future<Output = ()>>,
    awaited: impl Future<Output = T>,
) -> T {
    let mut awaited = pin!(awaited);
    loop {
        tokio::select! {
            answer = &mut awaited => return answer,
            Some(()) = boards.next(), if !boards.is_empty() => {}
        }
    }
}

/// One board, until it is gone.
async fn board(
    stack: &Stack<'_, Adapter, DefaultPacketPool>,
    connection: Connection<'_, DefaultPacketPool>,
    lines: &Lines,
    carrier: &Handle,
) {
    let peer = connection.peer_address();
    let carried = async {
        let met = timeout(MEET_WITHIN, Client::new(stack, &connection)).await;
        let client = met.map_err(|_| Error::Timeout)??;
        tokio::select! {
            ended = client.task() => ended,
            ended = carry(&client, &connection, lines, carrier) => ended,
        }
    };
    let why = match carried.await {
        Ok(()) => "the line closed".to_owned(),
        Err(BleHostError::BleHost(Error::Disconnected)) => "gone".to_owned(),
        Err(why) => format!("{why:?}"),
    };
    connection.disconnect();
    tracing::info!(%peer, why, "a board's line is closed");
}

/// Discovers services with a handful at most, ours among them.
type Client<'c> = GattClient<'c, Adapter, DefaultPacketPool, 4>;

/// Subscribes, and carries bytes both ways.
async fn carry(
    client: &Client<'_>,
    connection: &Connection<'_, DefaultPacketPool>,
    lines: &Lines,
    carrier: &Handle,
) -> Result<(), Fault> {
    let met = async {
        let services = client.services_by_uuid(&SERVICE).await?;
        let service = services.first().ok_or(Error::NotFound)?;
        let down = client
            .characteristic_by_uuid::<[u8]>(service, &DOWN)
            .await?;
        let up = client.characteristic_by_uuid::<[u8]>(service, &UP).await?;
        // Before it is asked to notify: what it says at once is not to be missed.
        let listener = client.listen_all()?;
        let cccd = up.cccd_handle.ok_or(Error::NotSupported)?;
        client.write_handle(cccd, &[1, 0]).await?;
        Ok::<_, Fault>((down, up, listener))
    };
    let (down, up, mut listener) = timeout(MEET_WITHIN, met)
        .await
        .map_err(|_| Error::Timeout)??;
    tracing::info!(peer = %connection.peer_address(), mtu = connection.att_mtu(), "a board's line is open");
    let (near, far) = tokio::io::duplex(4096);
    let (reader, writer) = tokio::io::split(far);
    let ends = Ends {
        reader: Box::new(reader),
        writer: Box::new(writer),
    };
    let of_lines = lines.clone();
    carrier.spawn(async move { line::serve(ends, &of_lines).await });
    let (mut from_line, mut to_line) = tokio::io::split(near);
    let hears = async {
        loop {
            let piece = listener.next().await;
            if piece.handle() == up.handle && to_line.write_all(piece.as_ref()).await.is_err() {
                return;
            }
        }
    };
    let says = async {
        let mut piece = [0; PIECE_BYTES];
        // The first asks as well: whatever the board had before is taken by then.
        let mut since_asked = WINDOW - 1;
        loop {
            let most = usize::from(connection.att_mtu()).saturating_sub(3);
            let most = most.clamp(1, PIECE_BYTES);
            let count = match from_line.read(&mut piece[..most]).await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(count) => count,
            };
            since_asked += 1;
            if since_asked == WINDOW {
                since_asked = 0;
                client.write_characteristic(&down, &piece[..count]).await?;
            } else {
                client
                    .write_characteristic_without_response(&down, &piece[..count])
                    .await?;
            }
        }
    };
    tokio::select! {
        () = hears => Ok(()),
        ended = says => ended,
    }
}

/// Boards that have been heard advertising the service.
#[derive(Default)]
struct Seen {
    addresses: RefCell<VecDeque<Address>>,
    more: Notify,
}

impl Seen {
    fn clear(&self) {
        self.addresses.borrow_mut().clear();
    }

    async fn next(&self) -> Address {
        loop {
            let address = self.addresses.borrow_mut().pop_front();
            match address {
                Some(address) => return address,
                None => self.more.notified().await,
            }
        }
    }
}

impl EventHandler for Seen {
    fn on_adv_reports(&self, reports: LeAdvReportsIter<'_>) {
        for report in reports.map_while(Result::ok) {
            let address = Address::new(report.addr_kind, report.addr);
            let mut addresses = self.addresses.borrow_mut();
            if is_ours(report.data) && !addresses.contains(&address) && addresses.len() < SEEN_MAX {
                addresses.push_back(address);
                self.more.notify_one();
            }
        }
    }
}

/// Whether an advertisement names the service.
fn is_ours(data: &[u8]) -> bool {
    let ours = SERVICE.as_raw();
    AdStructure::decode(data).any(|part| match part {
        Ok(
            AdStructure::CompleteServiceUuids128(ids) | AdStructure::IncompleteServiceUuids128(ids),
        ) => ids.iter().any(|id| id == ours),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_known_by_the_service_and_not_by_what_looks_like_it() {
        let ours: [u8; 16] = SERVICE.as_raw().try_into().unwrap();
        let mut advertised = vec![2, 1, 6, 17, 7];
        advertised.extend(ours);
        assert!(is_ours(&advertised));
        for cut in 0..advertised.len() {
            assert!(!is_ours(&advertised[..cut]), "cut at {cut}");
        }
        // The same bytes as a name.
        advertised[4] = 9;
        assert!(!is_ours(&advertised));
        assert!(!is_ours(&[255; 31]));
    }
}
