// The playground: one stream at a time, as the visitor, straight from the browser to the proxy. The access token is only ever in this
// module's memory.

const chat = document.getElementById("chat");
if (chat) start();

function start() {
  const at = (id) => document.getElementById(id);
  const [form, text, model, turns, facts] = ["chat-form", "chat-text", "chat-model", "turns", "chat-facts"].map(at);
  const [send, stop, clear] = ["chat-send", "chat-stop", "chat-clear"].map(at);
  let messages = [];
  let access = null;
  let running = null;

  /** A token that is good for at least ten seconds more. */
  async function token(signal) {
    if (access && Date.parse(access.expires_at) - Date.now() > 10_000) return access.access_token;
    const answer = await fetch("/ui/playground/access", {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded", "x-csrf-token": chat.dataset.csrf },
      signal,
    });
    if (answer.redirected || !answer.ok) throw new Error("Your session has ended. Reload the page to sign in again.");
    access = await answer.json();
    return access.access_token;
  }

  /** A turn of the conversation; returns where its text goes. */
  function turn(role, label, content) {
    at("chat-empty")?.remove();
    const box = document.createElement("div");
    box.className = `turn ${role}`;
    const head = document.createElement("h3");
    head.textContent = label;
    const body = document.createElement("p");
    body.textContent = content;
    box.append(head, body);
    turns.append(box);
    turns.scrollTop = turns.scrollHeight;
    return body;
  }

  function show(state) {
    send.disabled = state === "running";
    stop.disabled = state !== "running";
    chat.dataset.state = state;
  }

  /** The events of a stream, one JSON text each. */
  async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      const lines = rest.split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) yield line.slice(5).trim();
      }
    }
  }

  async function ask(question) {
    running = new AbortController();
    const { signal } = running;
    show("running");
    facts.textContent = "Waiting for the first byte…";
    messages.push({ role: "user", content: question });
    turn("user", "You", question);
    const body = turn("assistant", model.value, "");
    const started = performance.now();
    let first = null, usage = null, pieces = 0, answer = "", ended = false;
    try {
      const bearer = await token(signal);
      const response = await fetch(chat.dataset.path, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${bearer}` },
        body: JSON.stringify({ model: model.value, messages, stream: true, stream_options: { include_usage: true } }),
        credentials: "omit",
        signal,
      });
      if (!response.ok) {
        const said = await response.json().catch(() => null);
        throw new Error(`${response.status}: ${said?.error?.message ?? said?.message ?? "the proxy refused the request"}`);
      }
      for await (const event of events(response.body)) {
        if (event === "[DONE]") { ended = true; break; }
        const part = JSON.parse(event);
        if (part.error) throw new Error(part.error.message ?? "The stream broke off.");
        first ??= performance.now();
        usage = part.usage ?? usage;
        const piece = part.choices?.[0]?.delta?.content;
        if (piece) {
          pieces += 1;
          answer += piece;
          const following = turns.scrollTop + turns.clientHeight >= turns.scrollHeight - 8;
          body.textContent = answer;
          if (following) turns.scrollTop = turns.scrollHeight;
        }
      }
      if (!ended) throw new Error("The stream broke off before its end.");
      show("done");
    } catch (error) {
      if (error.name === "AbortError") {
        show("stopped");
      } else {
        body.parentElement.classList.add("failed");
        body.textContent = answer ? `${answer}\n\n${error.message}` : error.message;
        show("failed");
      }
    }
    if (answer) messages.push({ role: "assistant", content: answer });
    else messages.pop();
    const words = [];
    if (chat.dataset.state === "stopped") words.push("Stopped");
    if (first !== null) words.push(`first byte after ${Math.round(first - started)} ms`);
    if (usage) words.push(`${usage.prompt_tokens} prompt + ${usage.completion_tokens} completion tokens`);
    else if (pieces) words.push(`${pieces} pieces`);
    words.push(`${((performance.now() - started) / 1000).toFixed(1)} s`);
    facts.textContent = words.join(" · ");
    running = null;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const question = text.value.trim();
    if (!question || running) return;
    text.value = "";
    ask(question);
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  stop.addEventListener("click", () => running?.abort());
  clear.addEventListener("click", () => {
    running?.abort();
    messages = [];
    turns.replaceChildren();
    facts.textContent = "";
    text.focus();
  });
  show("idle");
}
