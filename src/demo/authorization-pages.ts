/** The pages that a person sees at the demo's authorization server: plain HTML, one style sheet, nothing from elsewhere. */

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text made safe inside HTML text and quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}

const STYLE = `
:root{color-scheme:light dark;--paper:#fffdf8;--ink:#2b2620;--soft:#776b5d;--line:#e6ddcd;--lamp:#e39a1a;--back:#f4eee2}
@media(prefers-color-scheme:dark){:root{--paper:#26221d;--ink:#f3ece0;--soft:#b5a896;--line:#443c32;--lamp:#f0b044;--back:#191613}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--back);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{width:100%;max-width:26rem;background:var(--paper);border:1px solid var(--line);border-top:4px solid var(--lamp);border-radius:12px;padding:2rem}
h1{font-size:1.35rem;line-height:1.25;margin:0 0 .75rem}p{margin:0 0 1rem}small,.soft{color:var(--soft)}
.code{display:block;margin:1rem 0;padding:.75rem;text-align:center;border:1px dashed var(--line);border-radius:8px;
font:600 1.6rem/1.2 ui-monospace,Menlo,Consolas,monospace;letter-spacing:.12em}
ul{margin:0 0 1.25rem;padding-left:1.2rem}li{margin:.25rem 0}
label{display:block;font-weight:600;margin-bottom:.25rem}
input[type=text]{width:100%;padding:.7rem .8rem;margin-bottom:1rem;border:1px solid var(--line);border-radius:8px;background:transparent;color:inherit;font:inherit}
button{width:100%;padding:.75rem;border:0;border-radius:8px;background:var(--lamp);color:#201808;font:inherit;font-weight:600;cursor:pointer}
button.quiet{margin-top:.6rem;background:transparent;color:var(--soft);border:1px solid var(--line)}
button:focus-visible,input:focus-visible{outline:3px solid var(--lamp);outline-offset:2px}
.warn{border-left:3px solid var(--lamp);padding-left:.8rem}`;

/** A whole page. `body` is HTML; `title` is text. */
export function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)} · Porchlight demo</title>
<style>${STYLE}</style>
</head>
<body><main>
<h1>${escapeHtml(title)}</h1>
${body}
</main></body>
</html>`;
}

/** Where a person types the code, when the address did not bring it along. */
export function codePage(form: string, complaint: string | undefined): string {
  const note = complaint === undefined ? '' : `<p class="warn">${escapeHtml(complaint)}</p>`;
  return page(
    'Connect a device',
    `<p>Type the code that the device shows.</p>${note}${form}<button type="submit" form="op.deviceInputForm">Continue</button>`,
  );
}

/** RFC 8628 section 5.4: the person must be sure that they hold this very device. */
export function confirmPage(form: string, client: string, code: string): string {
  return page(
    'Is this your device?',
    `<p><strong>${escapeHtml(client)}</strong> should show this code right now:</p>
<span class="code">${escapeHtml(code)}</span>
<p class="soft">If somebody sent you this code or address, stop here: they want to use your account.</p>
${form}<button type="submit" form="op.deviceConfirmForm" autofocus>Yes, it shows this code</button>
<button class="quiet" type="submit" form="op.deviceConfirmForm" name="abort" value="yes">No, stop</button>`,
  );
}

export function loginPage(action: string, account: string): string {
  return page(
    'Sign in',
    `<p>This is a demo server that believes any name. <strong>${escapeHtml(account)}</strong> owns the lamps.</p>
<form method="post" action="${escapeHtml(action)}">
<label for="account">Name</label>
<input type="text" id="account" name="account" value="${escapeHtml(account)}" autocomplete="username" required maxlength="64">
<button type="submit" autofocus>Sign in</button>
</form>`,
  );
}

/** Who asks for what. */
export function consentPage(action: string, client: string, account: string, wishes: readonly string[]): string {
  return page(
    `Allow ${client}?`,
    `<p><strong>${escapeHtml(client)}</strong> asks <strong>${escapeHtml(account)}</strong> for:</p>
<ul>${wishes.map((wish) => `<li>${escapeHtml(wish)}</li>`).join('')}</ul>
<form method="post" action="${escapeHtml(action)}">
<button type="submit" name="decision" value="allow" autofocus>Allow</button>
<button class="quiet" type="submit" name="decision" value="deny">Do not allow</button>
</form>`,
  );
}

const WISHES: Readonly<Record<string, string>> = {
  openid: 'know who you are',
  profile: 'know your name',
  address: 'know where home is, for sunrise and sunset',
  offline_access: 'stay connected while you are away',
  'lights:read': 'see how the lamps are set',
  'lights:control': 'switch and colour the lamps',
};

/** A scope as a person would say it. */
export function wishOf(scope: string): string {
  return WISHES[scope] ?? `use "${scope}"`;
}
