//! A TCP proxy that breaks the wire on request.
//!
//! Owns: a listening address that stays the same, and the fault in force, which can change at any
//! time and concerns open connections too. It runs on a thread of its own and ends when dropped.
//! Refuses: to understand what it carries.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;

/// What happens to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing: bytes go through.
    None,
    /// Open connections end with a reset, new ones as soon as they are accepted.
    Cut,
    /// Every piece of an answer comes so much later.
    Delay(Duration),
    /// Connections are accepted, what is sent is taken, nothing is answered. Answers withheld so
    /// come when the fault is over, on the connections that are still open then.
    Hang,
    /// Answers keep their length and lose their sense.
    Garble,
    /// Nobody listens; open connections end with a reset.
    Refuse,
    /// The orderly end of an orderly proxy.
    Stop,
}

/// The proxy.
pub(crate) struct FaultProxy {
    address: SocketAddr,
    target: watch::Sender<SocketAddr>,
    fault: watch::Sender<Fault>,
    accepted: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FaultProxy {
    /// Starts one before `target`, which need not be there yet.
    pub(crate) fn before(target: SocketAddr) -> Self {
        let (fault, faults) = watch::channel(Fault::None);
        let (target, targets) = watch::channel(target);
        let accepted = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&accepted);
        let (told, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            LocalSet::new().block_on(&runtime.expect("a runtime"), async move {
                let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
                let address = listener.local_addr().expect("it is bound");
                told.send(address).expect("the test waits for it");
                accept(listener, address, targets, faults, counted).await;
            });
        });
        let address = address.recv().expect("the proxy's thread tells its address");
        Self { address, target, fault, accepted, thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this happens.
    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// New connections lead there; open ones stay where they are.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(target);
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.fault.send_replace(Fault::Stop);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Listens, and listens again where somebody's dying connection is in the way.
async fn listen(address: SocketAddr) -> TcpListener {
    loop {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("a socket option");
        match socket.bind(address).and_then(|()| socket.listen(256)) {
            Ok(listener) => return listener,
            Err(error) if error.kind() == ErrorKind::AddrInUse => tokio::task::yield_now().await,
            Err(error) => panic!("cannot listen on {address}: {error}"),
        }
    }
}

async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    targets: watch::Receiver<SocketAddr>,
    mut faults: watch::Receiver<Fault>,
    accepted: Arc<AtomicUsize>,
) {
    let mut listener = Some(listener);
    loop {
        let fault = *faults.borrow_and_update();
        if fault == Fault::Stop {
            return;
        }
        if fault == Fault::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = Some(listen(address).await);
        }
        let next = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = faults.changed() => if changed.is_err() { return },
            Ok((client, _)) = next => {
                accepted.fetch_add(1, Ordering::SeqCst);
                let target = *targets.borrow();
                spawn(carry(client, target, faults.clone()));
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the proxy's tasks end with its thread")]
fn spawn(task: impl Future<Output = ()> + 'static) {
    drop(tokio::task::spawn_local(task));
}

/// Carries one connection until an end closes it or a fault cuts it.
async fn carry(mut client: TcpStream, target: SocketAddr, mut faults: watch::Receiver<Fault>) {
    let cuts = |fault: &Fault| matches!(fault, Fault::Cut | Fault::Refuse | Fault::Stop);
    if cuts(&faults.borrow()) {
        return cut(&client);
    }
    let Ok(mut server) = TcpStream::connect(target).await else {
        return cut(&client);
    };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let was_cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let answers = answers(from_server, to_client, faults.clone());
        let requests = requests(from_client, to_server);
        tokio::select! {
            _ = faults.wait_for(cuts) => true,
            () = answers => false,
            () = requests => false,
        }
    };
    if was_cut {
        cut(&client);
    }
}

/// Makes the connection end with a reset when it is dropped.
fn cut(client: &TcpStream) {
    drop(client.set_zero_linger());
}

async fn requests(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    drop(tokio::io::copy(&mut from, &mut to).await);
}

async fn answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut faults: watch::Receiver<Fault>,
) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        // Copied first: a borrow that lasts through the sleep would lock out who sets the next.
        let fault = *faults.borrow();
        if let Fault::Delay(time) = fault {
            tokio::time::sleep(time).await;
        }
        if faults.wait_for(|fault| *fault != Fault::Hang).await.is_err() {
            return;
        }
        let piece = &mut piece[..length];
        if *faults.borrow() == Fault::Garble {
            piece.iter_mut().for_each(|byte| *byte ^= 0xa5);
        }
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
}
