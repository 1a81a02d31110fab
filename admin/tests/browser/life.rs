//! The life of a PAT as the guides tell it, and what goes wrong on the way.

use crate::support::{Browser, Demo};

const PAGE: &str = "/v1/chat/completions";

fn status(demo: &Demo, pat: &str) -> u16 {
    let body = serde_json::json!({ "model": demo.text("model"), "messages": [] });
    demo.call("POST", &format!("/proxy/{}{PAGE}", demo.text("domain")), pat, Some(&body)).0
}

async fn becomes(demo: &Demo, pat: &str, wanted: u16) {
    for _ in 0..200 {
        if status(demo, pat) == wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("it stays {} and does not become {wanted}", status(demo, pat));
}

#[tokio::test]
async fn a_pat_is_created_copied_used_narrowed_and_revoked() {
    let demo = Demo::get();
    demo.add_user("walker", &["read", "llm_read", "llm_chat_completions"]);
    let browser = Browser::open(&demo).await;
    browser.sign_in("walker", "password of walker").await;

    // Profile → Personal Access Tokens → Create.
    browser.press(".avatar").await;
    browser.press("#user-menu a[href='/ui/pats']").await;
    browser.until_at("/ui/pats").await;
    browser.press("header.page a[href='/ui/pats/new']").await;
    browser.until_at("/ui/pats/new").await;
    browser.press(".actions.final button").await;
    // The browser itself keeps a form without a name from being sent.
    browser.until_at("/ui/pats/new").await;
    browser.write("#f-name", "walks \"<script>alert(1)</script>").await;
    assert!(!browser.has("input[value=llm_create]").await, "only operations that the user has");

    // Add Scope, in place: what was written stays, and nothing else is loaded.
    browser.script("window.same = true").await;
    browser.press("input[name=operation][value=llm_chat_completions]").await;
    browser.press("button[value=add]").await;
    browser.until("document.querySelectorAll('input[name=scope]').length === 1").await;
    browser.press("input[name=operation][value=llm_read]").await;
    browser.press("button[value=add]").await;
    browser.until("document.querySelectorAll('input[name=scope]').length === 2").await;
    assert_eq!(browser.script("return window.same === true").await, true, "the page was not loaded anew");
    browser.press(".actions.final button").await;
    browser.until("document.getElementById('secret')").await;
    let pat = browser.text("#secret").await;
    let line = browser.text("#curl").await;
    assert!(
        line.starts_with(&format!("curl {}/proxy/{}/v1/models", demo.text("origin"), demo.text("domain"))),
        "{line}"
    );
    browser.press("button[data-copy=secret]").await;
    browser.until("document.querySelector('[data-copy=secret]').textContent.includes('Copied')").await;
    assert!(!browser.has("main script").await, "a name is a text");

    // The line of the page does what it says.
    let ran = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("{line} --silent --fail"))
        .output()
        .expect("a shell");
    assert!(ran.status.success(), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stdout).contains(demo.text("model")), "{ran:?}");
    becomes(&demo, &pat, 200).await;

    // Without the scope for it a chat is refused.
    browser.press("main .actions .primary").await;
    browser.until("location.pathname.startsWith('/ui/pats/')").await;
    assert!(!browser.client.source().await.expect("a page").contains(&pat), "shown once");
    browser.press("input[name=scope][aria-label^='LLM Chat Completions']").await;
    browser.press("form[action$='/scopes/remove'] button").await;
    browser.until_at("/ui/in-force").await;
    browser.until("document.querySelector('#adoption .good-ink')").await;
    assert_eq!(status(&demo, &pat), 403, "in force as the page says");

    // Revoke, with what will happen.
    browser.press("main > .actions a[href^='/ui/pats/']").await;
    browser.press("header.page a[href$='/revoke']").await;
    browser.until("document.querySelector('.confirm')").await;
    assert!(browser.text(".confirm").await.contains("refused with 401"));
    browser.press("button.danger").await;
    browser.until_at("/ui/in-force").await;
    browser.until("document.querySelector('#adoption .good-ink')").await;
    assert_eq!(status(&demo, &pat), 401, "in force as the page says");
    browser.close().await;
}

#[tokio::test]
async fn wrong_inputs_stand_beside_their_fields_and_what_was_written_stays() {
    let demo = Demo::get();
    let browser = Browser::open(&demo).await;
    browser.sign_in(demo.text("user"), demo.text("password")).await;
    browser.go("/ui/pats/new").await;
    browser.write("#f-name", "wrong").await;
    browser.press("details summary").await;
    browser.write("#f-cidrs", "10.0.0.1/8").await;
    browser.press(".actions.final button").await;
    browser.until("document.getElementById('e-cidrs')").await;
    assert_eq!(browser.script("return document.getElementById('f-name').value").await, "wrong");
    assert_eq!(browser.script("return document.activeElement.classList.contains('alert')").await, true);
    assert_eq!(
        browser.script("return document.getElementById('f-cidrs').getAttribute('aria-invalid')").await,
        "true"
    );
    browser.expect_no_reports().await;
    browser.close().await;
}
