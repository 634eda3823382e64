// A reply as it is written. The page shows the same after a reload; only the streaming needs script.

const live = document.querySelector("[data-live]");
const messages = live.closest(".messages");
const status = document.querySelector("[data-status]");
const composer = document.querySelector("[data-composer]");
const stopForm = document.querySelector("[data-stop-form]");
const input = composer.elements.namedItem("text");
const template = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

let source = null;
let seen = 0;
let text = null;
let idempotencyKey = crypto.randomUUID();
const calls = new Map();
const approvals = new Map();

function say(words, bad = false) {
  status.textContent = words;
  status.classList.toggle("bad", bad);
}

function follow(change) {
  const atEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 80;
  change();
  if (atEnd) messages.scrollTop = messages.scrollHeight;
}

function add(tag, name, words = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = words;
  live.append(element);
  return element;
}

function setState(card, word, tone) {
  const badge = card.querySelector("[data-state]");
  badge.textContent = word;
  badge.className = `badge ${tone}`;
}

function cardOf(body) {
  if (!calls.has(body.call_id)) {
    const card = template("tool-template");
    calls.set(body.call_id, card);
    live.append(card);
  }
  return calls.get(body.call_id);
}

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

// The card as the server renders it for its own page: complete, escaped, with working buttons. A document made
// this way runs nothing.
function fetchCard(id) {
  const request = new XMLHttpRequest();
  request.open("GET", live.dataset.approvals + encodeURIComponent(id));
  request.responseType = "document";
  request.addEventListener("load", () => {
    const card = request.response?.querySelector(`[data-approval="${CSS.escape(id)}"]`);
    if (!card) return;
    const shown = messages.querySelector(`[data-approval="${CSS.escape(id)}"]`);
    const copy = document.importNode(card, true);
    const back = copy.querySelector('[name="return_to"]');
    if (back) back.value = location.pathname;
    follow(() => (shown ? shown.replaceWith(copy) : live.append(copy)));
    if (!shown && !input.value) copy.querySelector("[tabindex]")?.focus();
  });
  request.send();
}

const DECIDED = { allow: ["Allowed", "ok"], ask: ["Waiting", "warn"], deny: ["Denied", "bad"] };

const handlers = {
  run_started: () => say("Replying…"),
  context_gathered: () => add("p", "step", "Read the company’s memory and files"),
  model_text: (body) => {
    text ??= add("div", "text");
    text.append(body.text);
  },
  tool_asked: (body) => {
    text = null;
    const card = cardOf(body);
    card.querySelector("[data-tool]").textContent = body.tool;
    card.querySelector("[data-arguments]").textContent = pretty(body.arguments);
  },
  tool_decided: (body) => {
    setState(cardOf(body), ...(DECIDED[body.decision] ?? DECIDED.ask));
    cardOf(body).querySelector("[data-reason]").textContent = body.reason ?? "";
  },
  approval_asked: (body) => {
    say("Waiting for an approval");
    approvals.set(body.call_id, body.approval_id);
    fetchCard(body.approval_id);
  },
  approval_decided: (body) => {
    say("Replying…");
    fetchCard(body.approval_id);
  },
  tool_result: (body) => {
    const card = cardOf(body);
    if (body.outcome === "denied") setState(card, ...DECIDED.deny);
    else setState(card, ...(body.ok ? ["Done", "ok"] : ["Failed", "bad"]));
    if (approvals.has(body.call_id)) fetchCard(approvals.get(body.call_id));
    card.querySelector("[data-output]").textContent = pretty(body.output ?? "");
    card.querySelector("[data-duration]").textContent = body.duration_ms >= 0 ? `${(body.duration_ms / 1000).toFixed(1)} s` : "";
  },
  answer: (body) => {
    text ??= add("div", "text");
    if (body.html && "setHTML" in text) {
      text.className = "prose";
      text.setHTML(body.html);
    } else {
      text.textContent = body.text;
    }
    text = null;
  },
  run_failed: (body) => {
    add("div", "banner bad", body.text ?? "The reply failed. Send the message again.");
    finish("The reply failed");
  },
  run_stopped: () => finish("Stopped"),
  run_finished: () => finish("Reply complete"),
};

function finish(words) {
  source.close();
  source = null;
  live.setAttribute("aria-busy", "false");
  stopForm.hidden = true;
  say(words);
}

function watch(eventsUrl, stopUrl) {
  seen = 0;
  text = null;
  calls.clear();
  stopForm.action = stopUrl;
  stopForm.hidden = false;
  live.setAttribute("aria-busy", "true");
  say("Replying…");
  source = new EventSource(eventsUrl);
  for (const [kind, handle] of Object.entries(handlers)) {
    source.addEventListener(kind, ({ data }) => {
      const event = JSON.parse(data);
      if (event.sequence <= seen) return;
      seen = event.sequence;
      follow(() => handle(event.body));
    });
  }
  source.addEventListener("error", () => {
    if (source?.readyState === EventSource.CLOSED) finish("The connection was lost. Load the page again.");
  });
}

// A message of one's own: what was shown live before it becomes part of the thread.
function settle(words) {
  const mine = template("message-template");
  mine.classList.add("person");
  mine.querySelector("strong").textContent = "You";
  mine.querySelector(".prose").textContent = words;
  if (live.childNodes.length) {
    const before = template("message-template");
    before.querySelector("strong").textContent = "Reply";
    before.querySelector(".prose").replaceWith(...live.childNodes);
    live.before(before);
  }
  live.before(mine);
  messages.querySelector(".welcome")?.remove();
  messages.scrollTop = messages.scrollHeight;
}

async function send() {
  const button = composer.querySelector("button");
  if (button.disabled || !input.value.trim()) return;
  button.disabled = true;
  try {
    const answer = await fetch(composer.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(composer)),
      headers: { Accept: "application/json", "Idempotency-Key": idempotencyKey },
    });
    if (answer.redirected) return location.assign(answer.url);
    const result = await answer.json();
    if (!answer.ok) return say(result.detail ?? "That could not be sent. Try again.", true);
    idempotencyKey = crypto.randomUUID();
    if (new URL(result.conversation_url, location.href).pathname !== location.pathname) return location.assign(result.conversation_url);
    settle(input.value);
    input.value = "";
    watch(result.events_url, result.stop_url);
  } catch {
    say("That could not be sent. Check the connection and try again; it is not sent twice.", true);
  } finally {
    button.disabled = false;
    input.focus();
  }
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
stopForm.addEventListener("submit", (event) => {
  event.preventDefault();
  fetch(stopForm.action, { method: "POST", headers: { Accept: "application/json" } });
  say("Stopping…");
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && source && !document.querySelector(":popover-open, dialog[open]")) stopForm.requestSubmit();
});

messages.scrollTop = messages.scrollHeight;
if (live.dataset.events) watch(live.dataset.events, live.dataset.stop);
