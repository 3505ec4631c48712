//! Streams that say something all the while and hear it again, each byte looked at: whatever happens meanwhile to
//! certificates, CAs and other nodes, they are not to notice.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::caller::{self, Io};
use crate::payload;
use crate::wait::give_up;

/// How much is said at a time: more than one frame holds.
const PIECE: usize = 100_000;

/// A breath between two pieces, so that many streams leave room for what is tested beside them.
const PAUSE: Duration = Duration::from_millis(20);

/// Streams to `echo` services. Dropping it breaks them off.
#[derive(Debug, Default)]
pub struct Chatter {
    stop: CancellationToken,
    streams: JoinSet<Result<u64, String>>,
}

impl Chatter {
    /// Has one more stream talk. `name` is for words about it, and the seed of what it says.
    pub fn add(&mut self, name: &str, io: impl Io + 'static) {
        let (name, stop) = (name.to_owned(), self.stop.clone());
        self.streams.spawn(async move {
            let talked = talk(&name, io, &stop).await;
            talked.map_err(|error| format!("{name}: {error}"))
        });
    }

    /// How many streams talk still.
    pub fn talking(&mut self) -> usize {
        while let Some(ended) = self.streams.try_join_next() {
            match ended {
                Ok(Ok(_)) => {}
                Ok(Err(broken)) => give_up(format!("a stream broke: {broken}")),
                Err(died) => give_up(format!("a stream's task died: {died}")),
            }
        }
        self.streams.len()
    }

    /// Has every stream say its last and end in order; gives how many bytes came back, as they were said.
    ///
    /// # Panics
    /// When one broke, or heard something else than it had said.
    pub async fn finish(mut self) -> u64 {
        self.stop.cancel();
        let mut bytes = 0;
        while let Some(ended) = self.streams.join_next().await {
            match ended {
                Ok(Ok(count)) => bytes += count,
                Ok(Err(broken)) => give_up(format!("a stream broke: {broken}")),
                Err(died) => give_up(format!("a stream's task died: {died}")),
            }
        }
        bytes
    }
}

async fn talk(name: &str, mut io: impl Io, stop: &CancellationToken) -> Result<u64, String> {
    let words = |error: std::io::Error| error.to_string();
    caller::say(&mut io, "echo").await.map_err(words)?;
    let (mut reader, mut writer) = tokio::io::split(io);
    let own: u64 = name.bytes().map(u64::from).sum();
    let mut back = vec![0; PIECE];
    let mut turns = 0;
    while !stop.is_cancelled() {
        let piece = payload::bytes((own << 32) | turns, PIECE);
        let say = async {
            writer.write_all(&piece).await?;
            writer.flush().await
        };
        tokio::try_join!(say, async { reader.read_exact(&mut back).await.map(drop) })
            .map_err(words)?;
        if back != piece {
            return Err(format!("piece {turns} came back as another"));
        }
        turns += 1;
        sleep(PAUSE).await;
    }
    writer.shutdown().await.map_err(words)?;
    match reader.read(&mut back).await {
        Ok(0) => Ok(turns * PIECE as u64),
        Ok(count) => Err(format!("{count} bytes more than were said")),
        Err(error) => Err(error.to_string()),
    }
}
