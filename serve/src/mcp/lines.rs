//! Messages, one a line, between an agent and the protocol.
//!
//! - In: the ends of `stdio`. Out: a transport for rmcp, which differs from its own in this: whoever says what is no message
//!   is told so, and the conversation ends where nobody reads the answers.
//! - Not here: what is a message (`message`), what it asks (`server`).

use super::message;
use super::stdio::{Input, Output};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use rmcp::model::{ClientJsonRpcMessage, JsonRpcError, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::{DEFAULT_MAX_LINE_LENGTH, JsonRpcMessageCodec};
use rmcp::{ErrorData, RoleServer};
use std::io;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_util::codec::{AnyDelimiterCodec, AnyDelimiterCodecError, Decoder, FramedRead, FramedWrite};
use tokio_util::sync::CancellationToken;

/// A message of an agent, or what is answered to what is none.
type Said = Result<ClientJsonRpcMessage, Box<JsonRpcError>>;

/// Bytes → messages. What is none does not end the reading, as an error would.
struct Messages(AnyDelimiterCodec);

impl Messages {
    fn new() -> Self {
        let newline = || b"\n".to_vec();
        Self(AnyDelimiterCodec::new_with_max_length(
            newline(),
            newline(),
            DEFAULT_MAX_LINE_LENGTH,
        ))
    }
}

impl Decoder for Messages {
    type Item = Said;
    type Error = io::Error;

    fn decode(&mut self, read: &mut BytesMut) -> io::Result<Option<Said>> {
        first(|| self.0.decode(read))
    }

    fn decode_eof(&mut self, read: &mut BytesMut) -> io::Result<Option<Said>> {
        first(|| self.0.decode_eof(read))
    }
}

/// What the first line says that has something to be heard or answered.
fn first(
    mut next: impl FnMut() -> Result<Option<Bytes>, AnyDelimiterCodecError>,
) -> io::Result<Option<Said>> {
    while let Some(line) = next().transpose() {
        match line {
            Ok(line) if line.trim_ascii().is_empty() => {}
            Ok(line) => match message::read(&line) {
                Ok(message) => return Ok(Some(Ok(message))),
                Err(Some(refused)) => return Ok(Some(Err(refused))),
                Err(None) => tracing::debug!("a notification that cannot be read is passed over"),
            },
            Err(AnyDelimiterCodecError::MaxChunkLengthExceeded) => {
                let told = format!("a line has more than {DEFAULT_MAX_LINE_LENGTH} bytes");
                let refused = JsonRpcError::new(None, ErrorData::invalid_request(told, None));
                return Ok(Some(Err(Box::new(refused))));
            }
            Err(AnyDelimiterCodecError::Io(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// Where answers go.
type Writing = FramedWrite<Output, JsonRpcMessageCodec<ServerJsonRpcMessage>>;

/// A conversation by lines.
pub(super) struct Lines {
    read: FramedRead<Input, Messages>,
    write: Arc<Mutex<Writing>>,
    /// The answer to what was no message, until it is told. It goes on where it was when reading is broken off for
    /// something else.
    refusing: Option<BoxFuture<'static, io::Result<()>>>,
    left: CancellationToken,
}

impl Lines {
    /// One that cancels `left` when nobody takes an answer.
    pub(super) fn new(input: Input, output: Output, left: CancellationToken) -> Self {
        Self {
            read: FramedRead::new(input, Messages::new()),
            write: Arc::new(Mutex::new(FramedWrite::new(
                output,
                JsonRpcMessageCodec::default(),
            ))),
            refusing: None,
            left,
        }
    }

    fn tell(&self, message: ServerJsonRpcMessage) -> BoxFuture<'static, io::Result<()>> {
        let (write, left) = (self.write.clone(), self.left.clone());
        async move {
            let told = write.lock().await.send(message).await;
            told.map_err(io::Error::from).inspect_err(|_| left.cancel())
        }
        .boxed()
    }
}

impl Transport<RoleServer> for Lines {
    type Error = io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        self.tell(message)
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            if let Some(refusing) = &mut self.refusing {
                let told = refusing.await;
                self.refusing = None;
                told.ok()?;
            }
            match self.read.next().await? {
                Ok(Ok(message)) => return Some(message),
                Ok(Err(refused)) => self.refusing = Some(self.tell(ServerJsonRpcMessage::Error(*refused))),
                Err(error) => {
                    tracing::warn!(%error, "what the agent says cannot be read");
                    return None;
                }
            }
        }
    }

    /// Nothing: each answer was sent whole, and the end of output may be shared with others.
    async fn close(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    /// A conversation in which this is said, and the end at which its answers are read.
    fn said(text: &[u8], room: usize) -> (Lines, DuplexStream) {
        let (output, answers) = duplex(room);
        let input = io::Cursor::new(text.to_vec());
        let lines = Lines::new(Box::new(input), Box::new(output), CancellationToken::new());
        (lines, answers)
    }

    async fn method(lines: &mut Lines) -> Option<Value> {
        let message = lines.receive().await?;
        Some(serde_json::to_value(message).unwrap()["method"].clone())
    }

    const PING: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}";

    #[tokio::test]
    async fn what_is_no_message_is_answered_and_those_beside_it_are_heard() {
        let long = vec![b'x'; DEFAULT_MAX_LINE_LENGTH + 1];
        let parts: [&[u8]; 6] = [PING, b"nonsense", b" \r", &long, b"{\"id\":2}", PING];
        let (mut lines, mut answers) = said(&parts.join(&b'\n'), 4096);
        let ping = Some(json!("ping"));
        assert_eq!(method(&mut lines).await, ping);
        // The last line has no end.
        assert_eq!(method(&mut lines).await, ping);
        assert_eq!(method(&mut lines).await, None);
        drop(lines);
        let mut told = String::new();
        answers.read_to_string(&mut told).await.unwrap();
        let codes: Vec<Value> = told
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["error"]["code"].clone())
            .collect();
        assert_eq!(codes, [-32700, -32600, -32600]);
    }

    #[tokio::test]
    async fn an_answer_that_is_broken_off_is_told_whole() {
        let text = [b"nonsense\n", PING].concat();
        // There is room for one byte at a time.
        let (mut lines, mut answers) = said(&text, 1);
        assert!(lines.receive().now_or_never().is_none());
        let read = tokio::spawn(async move {
            let mut told = String::new();
            answers.read_to_string(&mut told).await.unwrap();
            told
        });
        assert_eq!(method(&mut lines).await, Some(json!("ping")));
        drop(lines);
        let told: Value = serde_json::from_str(&read.await.unwrap()).unwrap();
        assert_eq!(told["error"]["code"], -32700, "{told}");
    }

    #[tokio::test]
    async fn whoever_reads_no_answers_has_left() {
        let (mut lines, answers) = said(b"", 64);
        drop(answers);
        assert!(!lines.left.is_cancelled());
        let refused = JsonRpcError::new(None, ErrorData::invalid_request("no", None));
        lines
            .send(ServerJsonRpcMessage::Error(refused))
            .await
            .unwrap_err();
        assert!(lines.left.is_cancelled());
    }
}
