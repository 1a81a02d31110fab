//! The playground: a stream through the proxy as oneself, and stopping it.

use crate::support::{Browser, Demo, PATIENCE};

#[tokio::test]
async fn a_chat_streams_shows_its_numbers_and_stops() {
    let demo = Demo::get();
    let browser = Browser::open(&demo).await;
    browser.sign_in(demo.text("user"), demo.text("password")).await;
    // Other tests make domains that come first by name.
    let domain = demo.domain(&demo.log_in(demo.text("user"), demo.text("password")));
    browser.go(&format!("/ui/playground?domain={domain}")).await;
    browser.write("#chat-text", "Tell me <b>something</b>").await;
    browser.press("#chat-send").await;
    browser.until("document.getElementById('chat').dataset.state === 'done'").await;
    let said = browser.text("#turns .assistant p").await;
    assert!(!said.is_empty());
    assert_eq!(browser.text("#turns .user p").await, "Tell me <b>something</b>");
    let facts = browser.text("#chat-facts").await;
    assert!(facts.contains("first byte after") && facts.contains("completion tokens"), "{facts}");
    // The access token is in no place that outlives the page.
    let kept =
        "return [...Object.values(localStorage), ...Object.values(sessionStorage), document.cookie].join('')";
    assert_eq!(browser.script(kept).await, "");

    // The same through the same proxy, from the same model server, which is told to take its time: a piece every 50 ms, for ten minutes.
    let cancelled = || demo.upstream_count("streams_cancelled");
    let before = cancelled();
    browser
        .script(
            "const real = fetch; window.fetch = (target, options) => {
               if (String(target).startsWith('/proxy/')) Object.assign(options.headers, { 'x-mock-pace-us': '50000', 'x-mock-events': '12000' });
               return real(target, options);
             }",
        )
        .await;
    browser.write("#chat-text", "Once more").await;
    let stop_is_at =
        "const at = document.getElementById('chat-stop').getBoundingClientRect(); return [at.x, at.y].join()";
    let place = browser.script(stop_is_at).await;
    browser.press("#chat-send").await;
    browser
        .until("[...document.querySelectorAll('#turns .assistant p')].at(-1).textContent.length > 10")
        .await;
    assert_eq!(demo.upstream_count("streams_open"), 1, "it runs");
    assert_eq!(cancelled(), before);
    // More than the conversation has room for: the button does not run away from who wants to press it.
    browser
        .until(
            "document.getElementById('turns').scrollHeight > document.getElementById('turns').clientHeight",
        )
        .await;
    assert_eq!(browser.script(stop_is_at).await, place);
    browser.press("#chat-stop").await;
    browser.until("document.getElementById('chat').dataset.state === 'stopped'").await;
    let facts = browser.text("#chat-facts").await;
    assert!(facts.starts_with("Stopped · first byte after ") && facts.contains(" pieces · "), "{facts}");
    // The model server has heard of it, long before the stream's own end.
    let deadline = std::time::Instant::now() + PATIENCE;
    while cancelled() == before {
        assert!(std::time::Instant::now() < deadline, "the model server goes on for nobody");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!((cancelled(), demo.upstream_count("streams_open")), (before + 1, 0));
    // What came before the stop is still there, and the next question is answered.
    assert!(browser.text("#turns").await.contains("Once more"));
    assert_eq!(browser.script("return document.getElementById('chat-send').disabled").await, false);
    browser.expect_no_reports().await;
    browser.close().await;
}

#[tokio::test]
async fn at_admins_own_address_the_playground_leads_to_the_proxy() {
    let demo = Demo::get();
    let mut browser = Browser::open(&demo).await;
    browser.origin = demo.text("admin").to_owned();
    browser.sign_in(demo.text("user"), demo.text("password")).await;
    browser.go("/ui/playground").await;
    assert!(browser.text("main").await.contains("Where are the proxies?"), "nobody has said where");
    assert!(!browser.has("#chat").await);
    browser.close().await;
}
