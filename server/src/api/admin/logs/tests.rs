use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::*;

fn mk_stream(sessions: &Sessions, follow: bool) -> Streamed<LogLine> {
    let (sessions, node) = (sessions.clone(), NodeId::from("n"));
    let shelves = move || Shelves::from([(1, Shelf::Here(sessions.clone()))]);
    stream::start(&CancellationToken::new(), move |reader| feed(shelves, node, follow, reader)).into_inner()
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

#[tokio::test]
async fn lines_of_several_servers_come_in_the_order_of_time_and_are_followed_on_each() {
    let (first, second, node) = (Sessions::default(), Sessions::default(), NodeId::from("n"));
    for at_ms in [1, 4, 5] {
        first.log(&node, "join", vec![format!("first at {at_ms}")], at_ms);
    }
    for at_ms in [2, 3, 6] {
        second.log(&node, "join", vec![format!("second at {at_ms}")], at_ms);
    }
    let (here, there, of) = (first.clone(), second.clone(), node.clone());
    let shelves = move || Shelves::from([(1, Shelf::Here(here.clone())), (2, Shelf::Here(there.clone()))]);
    let mut stream =
        stream::start(&CancellationToken::new(), move |reader| feed(shelves, of, true, reader)).into_inner();
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(stream.next().await.unwrap().unwrap().text);
    }
    let expected = ["first at 1", "second at 2", "second at 3", "first at 4", "first at 5", "second at 6"];
    assert_eq!(seen, expected);
    for sessions in [&second, &first] {
        sessions.log(&node, "join", vec!["later".to_owned()], 7);
        assert_eq!(stream.next().await.unwrap().unwrap().text, "later");
    }
}
