//! The playground: a stream through the proxy as oneself, and stopping it.

use crate::support::{Browser, Demo};

#[tokio::test]
async fn a_chat_streams_shows_its_numbers_and_stops() {
    let demo = Demo::get();
    let browser = Browser::open(&demo).await;
    browser.sign_in(demo.text("user"), demo.text("password")).await;
    browser.go("/ui/playground").await;
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

    // A stream that is slow enough to be stopped: the sample model server's own pace is too fast to rely on, so the page reads from one
    // that never ends.
    browser.script(
        "const real = fetch; window.fetch = (target, options) => {
           if (!String(target).startsWith('/proxy/')) return real(target, options);
           const body = new ReadableStream({ start(stream) {
             stream.enqueue(new TextEncoder().encode('data: {\"choices\":[{\"delta\":{\"content\":\"slow\"}}]}\\n\\n'));
             options.signal.addEventListener('abort', () => stream.error(options.signal.reason));
           } });
           return Promise.resolve(new Response(body, { status: 200 }));
         }",
    )
    .await;
    browser.write("#chat-text", "Once more").await;
    browser.press("#chat-send").await;
    browser
        .until("[...document.querySelectorAll('#turns .assistant p')].at(-1).textContent === 'slow'")
        .await;
    browser.press("#chat-stop").await;
    browser.until("document.getElementById('chat').dataset.state === 'stopped'").await;
    assert!(browser.text("#chat-facts").await.starts_with("Stopped"));
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
