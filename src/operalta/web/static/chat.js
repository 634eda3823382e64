// A reply as it is written. The page shows the same after a reload; only the streaming needs script.

const live = document.querySelector("[data-live]");
const messages = live.closest(".messages");
const status = document.querySelector("[data-status]");
const composer = document.querySelector("[data-composer]");
const stopForm = document.querySelector("[data-stop-form]");
const input = composer.elements.namedItem("text");
const template = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

// A message may be sent while an earlier reply is still going on (or waits for an approval): each run has its own
// part of the page. `current` is the last one, to which the status and the stop button belong.
let current = null;
let idempotencyKey = crypto.randomUUID();

function say(words, bad = false) {
  status.textContent = words;
  status.classList.toggle("bad", bad);
}

function follow(change) {
  const atEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 80;
  change();
  if (atEnd) messages.scrollTop = messages.scrollHeight;
}

function add(run, tag, name, words = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = words;
  run.element.append(element);
  return element;
}

function setState(card, word, tone) {
  const badge = card.querySelector("[data-state]");
  badge.textContent = word;
  badge.className = `badge ${tone}`;
}

function cardOf(run, body) {
  if (!run.calls.has(body.call_id)) {
    const card = template("tool-template");
    run.calls.set(body.call_id, card);
    run.element.append(card);
  }
  return run.calls.get(body.call_id);
}

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

// The card as the server renders it for its own page: complete, escaped, with working buttons. A document made
// this way runs nothing. Once it is decided, one line is left of it, which opens the whole.
function fetchCard(run, id) {
  if (!run.approvals.has(id)) run.approvals.set(id, add(run, "div", "slot"));
  const request = new XMLHttpRequest();
  const address = live.dataset.approvals + encodeURIComponent(id);
  request.open("GET", address);
  request.responseType = "document";
  request.addEventListener("load", () => {
    const card = request.response?.querySelector(`[data-approval="${CSS.escape(id)}"]`);
    if (!card) return;
    const decided = card.querySelector(".decided");
    const shown = decided ? document.createElement("p") : document.importNode(card, true);
    if (decided) {
      const link = document.createElement("a");
      link.href = address;
      link.textContent = decided.textContent.trim();
      shown.className = "step";
      shown.append(link);
    } else {
      const back = shown.querySelector('[name="return_to"]');
      if (back) back.value = location.pathname;
      shown.querySelector("[autofocus]")?.removeAttribute("autofocus");
    }
    follow(() => run.approvals.get(id).replaceWith(shown));
    run.approvals.set(id, shown);
    if (!decided && !input.value) shown.querySelector("[tabindex]")?.focus();
  });
  request.send();
}

function addLinks(run, citations) {
  const list = add(run, "ul", "citations");
  list.setAttribute("aria-label", "Drawn from");
  for (const { label, href } of citations) {
    const link = document.createElement("a");
    link.href = href;
    link.textContent = label;
    list.append(document.createElement("li"));
    list.lastChild.append(link);
  }
}

const DECIDED = { allow: ["Allowed", "ok"], ask: ["Waiting", "warn"], deny: ["Denied", "bad"] };

const handlers = {
  run_started: (run) => tell(run, "Replying…"),
  model_text: (run, body) => {
    run.text ??= add(run, "div", "text");
    run.text.append(body.text);
  },
  // Another worker goes on and asks the model again: what came half is taken back, so that nothing stands twice.
  run_recovered: (run) => {
    run.text?.remove();
    run.text = null;
  },
  tool_asked: (run, body) => {
    run.text = null;
    const card = cardOf(run, body);
    card.querySelector("[data-tool]").textContent = body.tool;
    card.querySelector("[data-arguments]").textContent = pretty(body.arguments);
  },
  tool_decided: (run, body) => {
    setState(cardOf(run, body), ...(DECIDED[body.decision] ?? DECIDED.ask));
    cardOf(run, body).querySelector("[data-reason]").textContent = body.reason ?? "";
  },
  approval_asked: (run, body) => {
    tell(run, "Waiting for an approval");
    run.asked.set(body.call_id, body.card_id ?? body.approval_id);
    fetchCard(run, run.asked.get(body.call_id));
  },
  approval_decided: (run, body) => {
    tell(run, "Replying…");
    fetchCard(run, body.card_id ?? body.approval_id);
  },
  tool_output: (run, body) => {
    setState(cardOf(run, body), "Running", "info");
    Object.assign(cardOf(run, body), { open: true }).querySelector("[data-wrote]").append(body.text);
  },
  tool_result: (run, body) => {
    const card = cardOf(run, body);
    if (body.outcome === "denied") setState(card, ...DECIDED.deny);
    else setState(card, ...(body.ok ? ["Done", "ok"] : ["Failed", "bad"]));
    if (run.asked.has(body.call_id)) fetchCard(run, run.asked.get(body.call_id));
    card.querySelector("[data-output]").textContent = pretty(body.output ?? "");
    card.querySelector("[data-duration]").textContent = body.duration_ms >= 0 ? `${(body.duration_ms / 1000).toFixed(1)} s` : "";
  },
  answer: (run, body) => {
    const text = run.text ?? add(run, "div", "text");
    if (body.html && "setHTML" in text) {
      text.className = "prose";
      text.setHTML(body.html);
    } else {
      text.textContent = body.text;
    }
    run.text = null;
    if (body.citations?.length) addLinks(run, body.citations);
  },
  run_failed: (run, body) => {
    add(run, "div", "banner bad", body.text ?? "The reply failed. Send the message again.");
    finish(run, "The reply failed");
  },
  run_stopped: (run) => finish(run, "Stopped"),
  run_finished: (run) => finish(run, "Reply complete"),
};

function tell(run, words) {
  if (run === current && !run.stopping) say(words);
}

function finish(run, words) {
  run.source.close();
  if (run !== current) return;
  current = null;
  live.setAttribute("aria-busy", "false");
  stopForm.hidden = true;
  say(words);
}

function watch(eventsUrl, stopUrl, words) {
  const element = document.createElement("div");
  element.className = "reply";
  live.append(element);
  const run = { element, source: new EventSource(eventsUrl), seen: 0, text: null, stopping: false, calls: new Map(), asked: new Map(), approvals: new Map() };
  current = run;
  stopForm.action = stopUrl;
  stopForm.hidden = false;
  live.setAttribute("aria-busy", "true");
  say(words);
  for (const [kind, handle] of Object.entries(handlers)) {
    run.source.addEventListener(kind, ({ data }) => {
      const event = JSON.parse(data);
      if (event.sequence <= run.seen) return;
      run.seen = event.sequence;
      follow(() => handle(run, event.body));
    });
  }
  run.source.addEventListener("error", () => {
    if (run.source.readyState === EventSource.CLOSED) finish(run, "The connection was lost. Load the page again.");
  });
}

// A message of one's own: what was shown live before it becomes part of the thread, and goes on there.
function settle(words) {
  const agent = composer.elements.namedItem("agent_id");
  for (const element of [...live.children]) {
    const before = template("message-template");
    before.querySelector("strong").textContent = agent?.selectedOptions[0]?.text ?? "Reply";
    live.before(before);
    before.querySelector(".prose").replaceWith(element);
  }
  const mine = template("message-template");
  mine.classList.add("person");
  mine.querySelector("strong").textContent = "You";
  mine.querySelector(".prose").textContent = words;
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
    watch(result.events_url, result.stop_url, result.status);
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
stopForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  const run = current;
  run.stopping = true;
  say("Stopping…");
  const answer = await fetch(stopForm.action, { method: "POST", headers: { Accept: "application/json" } }).catch(() => null);
  if (answer?.ok) return;
  run.stopping = false;
  if (run === current) say("That could not be stopped. Try again.", true);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && current && !document.querySelector(":popover-open, dialog[open]")) stopForm.requestSubmit();
});

messages.scrollTop = messages.scrollHeight;
if (live.dataset.events) watch(live.dataset.events, live.dataset.stop, status.textContent);
