//! Answers every Produce request at once and keeps nothing: what the wire and the load itself take,
//! and so what no log on the same machine can exceed. Prints its address.

#![expect(clippy::print_stdout, reason = "its address is for whoever started it")]

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// As long as an answer of version 7 for one partition of a topic with a name of four letters.
const ANSWER: [u8; 56] = {
    let mut answer = [0; 56];
    answer[3] = 52;
    answer
};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream));
    }
}

/// Until the client leaves.
async fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::with_capacity(16 << 10, stream);
    let mut request = Vec::new();
    loop {
        let length = stream.read_u32().await?;
        request.resize(length as usize, 0);
        stream.read_exact(&mut request).await?;
        stream.write_all(&ANSWER).await?;
    }
}
