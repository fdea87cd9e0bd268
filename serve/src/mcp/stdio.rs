//! The ends that an agent speaks to by standard input and output.
//!
//! - Agents give pipes or sockets, which the runtime waits for by itself. tokio's own standard input and output give each
//!   read and write to a thread of its own and wait for that, twice a call. Whatever else it is, a file or a terminal, is
//!   read so all the same; and what standard error is too, since an end that nobody waits for may not take all that is
//!   written to it.
//! - Not here: framing (rmcp).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// What an agent says.
pub(super) type Input = Box<dyn AsyncRead + Send + Unpin>;
/// What it is told.
pub(super) type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// Standard input and output. To be called within a runtime.
pub(super) fn ends() -> (Input, Output) {
    let errors = io::stderr();
    let input = input(io::stdin().as_fd(), errors.as_fd()).unwrap_or_else(|_| Box::new(tokio::io::stdin()));
    let output =
        output(io::stdout().as_fd(), errors.as_fd()).unwrap_or_else(|_| Box::new(tokio::io::stdout()));
    (input, output)
}

fn input(end: BorrowedFd<'_>, errors: BorrowedFd<'_>) -> io::Result<Input> {
    Ok(match socket(end, errors)? {
        Ok(socket) => Box::new(socket),
        Err(end) => Box::new(pipe::Receiver::from_owned_fd(end)?),
    })
}

fn output(end: BorrowedFd<'_>, errors: BorrowedFd<'_>) -> io::Result<Output> {
    Ok(match socket(end, errors)? {
        Ok(socket) => Box::new(socket),
        Err(end) => Box::new(pipe::Sender::from_owned_fd(end)?),
    })
}

/// The socket that an end is, or the end; an error where it is that of errors, too.
fn socket(end: BorrowedFd<'_>, errors: BorrowedFd<'_>) -> io::Result<Result<UnixStream, OwnedFd>> {
    let file = |end: BorrowedFd<'_>| end.try_clone_to_owned().map(File::from);
    let is_of = |file: &File| file.metadata().map(|file| (file.dev(), file.ino()));
    let end = file(end)?;
    if is_of(&end)? == is_of(&file(errors)?)? {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    if !end.metadata()?.file_type().is_socket() {
        return Ok(Err(end.into()));
    }
    let socket = std::os::unix::net::UnixStream::from(OwnedFd::from(end));
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket).map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// What arrives at one end of what is written at the other.
    async fn passed(mut input: Input, mut output: Output) -> String {
        output.write_all(b"one line\n").await.unwrap();
        output.flush().await.unwrap();
        drop(output);
        let mut said = String::new();
        input.read_to_string(&mut said).await.unwrap();
        said
    }

    #[tokio::test]
    async fn pipes_and_sockets_are_spoken_through_and_the_rest_is_left_to_threads() {
        let file = tempfile::tempfile().unwrap();
        let errors = file.as_fd();
        let (reader, writer) = io::pipe().unwrap();
        let ends = (
            input(reader.as_fd(), errors).unwrap(),
            output(writer.as_fd(), errors).unwrap(),
        );
        assert!(output(writer.as_fd(), writer.as_fd()).is_err());
        drop((reader, writer));
        assert_eq!(passed(ends.0, ends.1).await, "one line\n");

        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let ends = (
            input(one.as_fd(), errors).unwrap(),
            output(other.as_fd(), errors).unwrap(),
        );
        drop((one, other));
        assert_eq!(passed(ends.0, ends.1).await, "one line\n");

        let other = tempfile::tempfile().unwrap();
        assert!(input(file.as_fd(), other.as_fd()).is_err() && output(file.as_fd(), other.as_fd()).is_err());
    }
}
