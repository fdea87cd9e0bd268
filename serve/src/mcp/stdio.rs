//! The ends that an agent speaks to by standard input and output.
//!
//! - Agents give pipes or sockets, which the runtime waits for by itself. tokio's own standard input and output give each
//!   read and write to a thread of its own and wait for that, twice a call. Whatever else it is, a file or a terminal, is
//!   read so all the same; and a socket that standard error is too, since an end that nobody waits for may not take all that
//!   is written to it.
//! - Whether one waits is a property of what is open, which other processes may share. So a pipe is opened once more, for
//!   this process alone; a socket, which cannot be, is as it was when [`Ends`] is dropped.
//! - Not here: framing (`lines`).

use futures::FutureExt as _;
use futures::future::{BoxFuture, pending};
use rustix::fs::{OFlags, fcntl_getfl};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// What an agent says.
pub(super) type Input = Box<dyn AsyncRead + Send + Unpin>;
/// What it is told.
pub(super) type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// Both ends of a conversation.
pub(super) struct Ends {
    /// What the agent says.
    pub(super) input: Input,
    /// What it is told.
    pub(super) output: Output,
    /// Is over when nobody can read any more what it is told. Where only writing tells that, it never is.
    pub(super) left: BoxFuture<'static, ()>,
    /// Dropped when all is said.
    pub(super) blocking: Blocking,
}

/// Sockets that others find as they were when this is dropped: reading and writing wait.
#[derive(Default)]
pub(super) struct Blocking(Vec<net::UnixStream>);

impl Drop for Blocking {
    fn drop(&mut self) {
        for socket in &self.0 {
            if let Err(error) = socket.set_nonblocking(false) {
                tracing::warn!(%error, "standard input or output stays as dkc needed it");
            }
        }
    }
}

/// Standard input and output. To be called within a runtime.
pub(super) fn ends() -> Ends {
    let mut blocking = Blocking::default();
    let errors = io::stderr();
    let input = input(io::stdin().as_fd(), errors.as_fd(), &mut blocking);
    let output = output(io::stdout().as_fd(), errors.as_fd(), &mut blocking);
    let (output, left) = output.unwrap_or_else(|_| (Box::new(tokio::io::stdout()), pending().boxed()));
    Ends {
        input: input.unwrap_or_else(|_| Box::new(tokio::io::stdin())),
        output,
        left,
        blocking,
    }
}

fn input(end: BorrowedFd<'_>, errors: BorrowedFd<'_>, blocking: &mut Blocking) -> io::Result<Input> {
    Ok(match about(end)?.file_type().is_fifo() {
        true => Box::new(pipe::OpenOptions::new().open_receiver(path(end))?),
        false => Box::new(socket(end, errors, blocking)?),
    })
}

fn output(
    end: BorrowedFd<'_>,
    errors: BorrowedFd<'_>,
    blocking: &mut Blocking,
) -> io::Result<(Output, BoxFuture<'static, ()>)> {
    // The end is waited for twice: until it takes what is written, and until it is of no use.
    if about(end)?.file_type().is_fifo() {
        let open = || pipe::OpenOptions::new().open_sender(path(end));
        return Ok((Box::new(open()?), pipe_left(open()?).boxed()));
    }
    let mut open = || socket(end, errors, blocking);
    Ok((Box::new(open()?), socket_left(open()?).boxed()))
}

/// Where a pipe can be opened once more, of its own.
fn path(end: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", end.as_raw_fd())
}

fn about(end: BorrowedFd<'_>) -> io::Result<Metadata> {
    File::from(end.try_clone_to_owned()?).metadata()
}

/// The socket that an end is; an error where it is none, or that of errors, too.
fn socket(end: BorrowedFd<'_>, errors: BorrowedFd<'_>, blocking: &mut Blocking) -> io::Result<UnixStream> {
    let (about, errors) = (about(end)?, about(errors)?);
    if (about.dev(), about.ino()) == (errors.dev(), errors.ino()) {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    if !about.file_type().is_socket() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let socket = net::UnixStream::from(end.try_clone_to_owned()?);
    // The same socket may be both ends: who finds it as this process made it leaves it to the one who made it so.
    if !fcntl_getfl(&socket)?.contains(OFlags::NONBLOCK) {
        blocking.0.push(socket.try_clone()?);
        socket.set_nonblocking(true)?;
    }
    UnixStream::from_std(socket)
}

/// Waits until all reading ends of a pipe are closed, of which the kernel tells as of an error.
async fn pipe_left(end: pipe::Sender) {
    while end
        .ready(Interest::ERROR)
        .await
        .is_ok_and(|ready| !ready.is_error())
    {}
}

/// Waits until the other end of a socket is closed, and not only for writing: many an agent says nothing there.
async fn socket_left(end: UnixStream) {
    while end
        .ready(Interest::WRITABLE)
        .await
        .is_ok_and(|ready| !ready.is_write_closed())
    {
        // That it can be written to is not waited for again until the kernel tells anew.
        let _ = end.try_io(Interest::WRITABLE, || -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// What arrives at one end of what is written at the other.
    async fn passed(input: &mut Input, output: &mut Output) -> String {
        output.write_all(b"one line\n").await.unwrap();
        output.flush().await.unwrap();
        let mut said = [0; 9];
        input.read_exact(&mut said).await.unwrap();
        String::from_utf8_lossy(&said).into_owned()
    }

    fn waits(end: impl AsFd) -> bool {
        !fcntl_getfl(end).unwrap().contains(OFlags::NONBLOCK)
    }

    #[tokio::test]
    async fn pipes_are_spoken_through_and_stay_as_they_are_for_others() {
        let file = tempfile::tempfile().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let mut blocking = Blocking::default();
        let mut heard = input(reader.as_fd(), file.as_fd(), &mut blocking).unwrap();
        // Errors may go to the same pipe.
        let (mut told, mut left) = output(writer.as_fd(), writer.as_fd(), &mut blocking).unwrap();
        assert_eq!(passed(&mut heard, &mut told).await, "one line\n");
        assert!(waits(&reader) && waits(&writer) && blocking.0.is_empty());
        assert!((&mut left).now_or_never().is_none());
        drop((reader, heard));
        left.await;
    }

    #[tokio::test]
    async fn sockets_are_spoken_through_and_wait_again_in_the_end() {
        let file = tempfile::tempfile().unwrap();
        let errors = file.as_fd();
        let (own, far) = net::UnixStream::pair().unwrap();
        let (mut blocking, mut apart) = (Blocking::default(), Blocking::default());
        // One socket is both ends.
        let mut heard = input(own.as_fd(), errors, &mut blocking).unwrap();
        let (_told, mut left) = output(own.as_fd(), errors, &mut blocking).unwrap();
        assert!(output(far.as_fd(), far.as_fd(), &mut apart).is_err());
        let (mut says, _) = output(far.as_fd(), errors, &mut apart).unwrap();
        assert_eq!(passed(&mut heard, &mut says).await, "one line\n");
        assert!(!waits(&own) && blocking.0.len() == 1);
        drop((blocking, apart));
        assert!(waits(&own) && waits(&far));
        // Whoever says nothing more may listen still.
        far.set_nonblocking(true).unwrap();
        own.set_nonblocking(true).unwrap();
        far.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(heard.read(&mut [0]).await.unwrap(), 0);
        assert!((&mut left).now_or_never().is_none());
        drop((far, says));
        left.await;
    }

    #[tokio::test]
    async fn what_is_neither_is_left_to_threads() {
        let (file, errors) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let mut blocking = Blocking::default();
        assert!(input(file.as_fd(), errors.as_fd(), &mut blocking).is_err());
        assert!(output(file.as_fd(), errors.as_fd(), &mut blocking).is_err());
    }
}
