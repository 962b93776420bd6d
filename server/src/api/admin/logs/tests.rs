use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::*;

fn mk_stream(sessions: &Sessions, follow: bool) -> Streamed<LogLine> {
    let (sessions, node) = (sessions.clone(), NodeId::from("n"));
    stream::start(&CancellationToken::new(), move |reader| feed(sessions, node, follow, reader)).into_inner()
}

fn log(sessions: &Sessions, range: std::ops::Range<usize>) {
    sessions.log(&"n".into(), "join", range.map(|n| n.to_string()).collect(), 7_000);
}

#[tokio::test]
async fn what_is_there_is_sent_and_no_more_if_nobody_follows() {
    let sessions = Sessions::default();
    log(&sessions, 0..200);
    let lines: Vec<_> = mk_stream(&sessions, false).map(Result::unwrap).collect().await;
    assert_eq!(lines.len(), 200);
    assert_eq!((lines[199].text.as_str(), lines[0].step.as_str(), lines[0].at), ("199", "join", timestamp(7_000)));
}

#[tokio::test]
async fn a_follower_gets_each_line_once_as_it_comes() {
    let sessions = Sessions::default();
    log(&sessions, 0..3);
    let mut stream = mk_stream(&sessions, true);
    for n in 0..300 {
        if n % 3 == 0 {
            log(&sessions, n + 3..n + 6);
        }
        let line = stream.next().await.unwrap().unwrap();
        assert_eq!(line.text, n.to_string());
    }
}
