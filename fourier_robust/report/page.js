// Filter, sort, choose columns, copy as LaTeX; all of it kept in the address: #view?method=..&sort.table1=4d.
// The page is whole without this; what needs it is made or unhidden here.
"use strict";
(() => {
  const form = document.getElementById("view");
  const status = form.querySelector("[role=status]");
  const fields = ["method", "data", "suite", "metric"];
  const order = new Intl.Collator("en", { numeric: true }); // of texts, the same wherever the page is opened
  const plain = (element) => element.textContent.replace(/\s+/g, " ").trim();
  const flip = (element, hidden) => { if (element.hidden !== hidden) element.hidden = hidden; };

  function make(tag, given, ...inside) {
    const element = Object.assign(document.createElement(tag), given);
    element.append(...inside);
    return element;
  }

  // ---- what stands on the page ----
  const names = new Map(); // a method's name in pictures -> all that is known of it
  for (const row of document.querySelectorAll("#methods tbody tr")) {
    const name = plain(row.cells[0]);
    names.set(name, `${names.get(name) ?? ""} ${plain(row)}`);
  }

  const tables = [...document.querySelectorAll("table")].map((element) => {
    const head = [...element.tHead.rows].at(-1);
    const above = [...element.tHead.rows].slice(0, -1).flatMap((row) => [...row.cells]);
    const columns = [...head.cells].map((cell) => {
      const link = cell.querySelector("a");
      const name = plain(link ?? cell);
      const { suite = "", better = "0" } = cell.dataset;
      const direction = cell.querySelector("small")?.title ?? "";
      return { cell, name, suite, better, direction, full: suite ? `${suite}: ${name}` : name, shown: true };
    });
    const results = columns.some((column) => column.suite);
    const who = columns.findIndex((column) => /^method(,|$)/.test(column.name));
    const id = element.closest("[id]").id;
    const rows = [...element.tBodies[0].rows].map((row, at) => {
      const cells = [...row.cells];
      const told = results ? cells.filter((_, place) => !columns[place].suite).map(plain).join(" ")
        : id === "methods" ? plain(row) : who < 0 ? "" : `${plain(cells[who])} ${names.get(plain(cells[who])) ?? ""}`;
      return { row, cells, at, told: told.toLowerCase() };
    });
    return { element, id, columns, rows, results, methods: results || who >= 0 || id === "methods",
      title: plain(element.caption), section: element.closest("section"), box: element.parentElement,
      above: above.map((cell) => ({ cell, count: cell.colSpan })), off: new Set(), sort: null };
  });
  const results = tables.filter((table) => table.results);
  const known = new Set([...form.elements.data.options].map((option) => option.value));
  const heading = /train(?:ed|ing) on (\S+?)\)?$/i; // how the headings of pictures name their data set
  const trained = (section) => section.dataset.trained ?? heading.exec(plain(section.querySelector("h2")))?.[1];

  // ---- the view, and the address ----
  // Words must all be found; a comma means or.
  function fits(text, wanted) {
    const choices = wanted.toLowerCase().split(",").filter((choice) => choice.trim());
    return !choices.length || choices.some((choice) => choice.trim().split(/\s+/).every((word) => text.includes(word)));
  }

  function address() {
    const view = new URLSearchParams();
    for (const name of fields) if (form.elements[name].value.trim()) view.set(name, form.elements[name].value.trim());
    for (const { id, sort, off } of tables) {
      if (sort) view.set(`sort.${id}`, `${sort.at}${sort.down ? "d" : "a"}`);
      if (off.size) view.set(`hide.${id}`, [...off].sort((a, b) => a - b).join("."));
    }
    return String(view) && `#view?${view}`;
  }

  function restore() {
    if (!/^(#view\?.*)?$/.test(location.hash)) { // a link to a place on the page: the view stays, the place is shown
      const place = document.getElementById(location.hash.slice(1));
      if (!place?.closest("section[hidden]")) return;
      for (const name of fields) form.elements[name].value = "";
      show();
      place.scrollIntoView();
      return;
    }
    const view = new URLSearchParams(location.hash.slice("#view?".length));
    for (const name of fields) form.elements[name].value = view.get(name) ?? "";
    for (const name of ["data", "suite"]) if (form.elements[name].selectedIndex < 0) form.elements[name].value = "";
    for (const table of tables) {
      const [, at, way] = /^(\d+)([ad])$/.exec(view.get(`sort.${table.id}`) ?? "") ?? [];
      table.sort = table.columns[at] ? { at: Number(at), down: way === "d" } : null;
      const off = (view.get(`hide.${table.id}`) ?? "").split(".").filter(Boolean).map(Number);
      table.off = new Set(off.filter((place) => place > 0 && table.columns[place]));
    }
    show();
  }

  let typing = ""; // the field that wrote the last address: one entry of the history per field, not per letter
  function changed(field = "", said = "") {
    const target = address() || location.pathname + location.search;
    history[field && field === typing ? "replaceState" : "pushState"](null, "", target);
    typing = field;
    show(said);
  }

  // ---- show it ----
  function value(text) {
    const number = /^[+\-−]?(\d[\d,]*\.?\d*|\.\d+)(e[+-]?\d+)?(?=$|[\s%(†])/i.exec(text);
    return number ? Number(number[0].replaceAll(",", "").replace("−", "-")) : NaN;
  }

  function sorted({ rows, sort }) {
    if (!sort) return rows;
    const texts = rows.map(({ cells }) => plain(cells[sort.at]));
    const keys = texts.map((text, at) => ({ at, text, number: value(text) }));
    const numeric = keys.every(({ text, number }) => !text || !Number.isNaN(number));
    const sign = sort.down ? -1 : 1;
    const compare = (a, b) => sign * (numeric ? a.number - b.number : order.compare(a.text, b.text));
    keys.sort((a, b) => !a.text - !b.text || (a.text && compare(a, b)) || a.at - b.at); // empty cells last
    return keys.map(({ at }) => rows[at]);
  }

  function showColumns(table, suite, metric) {
    table.columns.forEach((column, place) => {
      column.wanted = !column.suite || ((!suite || suite === column.suite) && fits(column.full.toLowerCase(), metric));
      const shown = column.wanted && !table.off.has(place);
      if (column.shown !== shown) {
        column.shown = shown;
        for (const { cells } of table.rows) cells[place].hidden = !shown;
        column.cell.hidden = !shown;
      }
      const ways = ["ascending", "descending"];
      if (table.sort?.at === place) column.cell.setAttribute("aria-sort", ways[Number(table.sort.down)]);
      else column.cell.removeAttribute("aria-sort");
      if (column.box) column.box.checked = !table.off.has(place);
    });
    let at = 0;
    for (const { cell, count } of table.above) {
      const shown = table.columns.slice(at, at + count).filter((column) => column.shown).length;
      flip(cell, !shown);
      if (shown) cell.colSpan = shown;
      at += count;
    }
  }

  function showRows(table, method) {
    let count = 0;
    for (const { row, told } of table.rows) {
      const shown = !table.methods || fits(told, method);
      flip(row, !shown);
      count += shown;
    }
    const [body] = table.element.tBodies;
    const rows = sorted(table).map(({ row }) => row);
    if (rows.some((row, at) => row !== body.rows[at])) body.append(...rows);
    return count;
  }

  function show(said = "") {
    const { method, data, suite, metric } = form.elements;
    const hidden = (section) => data.value && known.has(trained(section)) && trained(section) !== data.value;
    for (const section of document.querySelectorAll("main > section")) flip(section, Boolean(hidden(section)));
    let rows = 0, all = 0, count = 0;
    for (const table of tables) {
      showColumns(table, suite.value, metric.value);
      const shown = showRows(table, method.value);
      if (table.results) {
        all += table.rows.length;
        if (!shown || !table.columns.some((column) => column.suite && column.wanted)) flip(table.section, true);
        if (!table.section.hidden) { rows += shown; count += 1; }
      } else {
        flip(table.box, !shown);
        flip(table.none, Boolean(shown));
      }
    }
    for (const link of document.querySelectorAll("nav a")) {
      const place = document.getElementById(link.hash.slice(1));
      if (link.parentElement.children.length === 1) flip(link.parentElement, place.hidden);
    }
    const tally = `${rows} of ${all} rows in ${count} of ${results.length} tables of results`;
    const found = rows ? tally : "No table of results fits";
    say(`${found}${said && "; "}${said}`);
  }
  const say = (text) => { if (status.textContent !== text) status.textContent = text; };

  // ---- copy ----
  const special = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
    "|": "\\textbar{}", "<": "\\textless{}", ">": "\\textgreater{}",
    "±": "$\\pm$", "†": "$\\dagger$", "−": "$-$", "×": "$\\times$", "²": "$^2$",
    "≤": "$\\leq$", "≥": "$\\geq$", "→": "$\\rightarrow$", "↑": "$\\uparrow$", "↓": "$\\downarrow$" };
  for (const character of "&%$#_{}") special[character] = `\\${character}`;
  const escaped = (text) => [...text].map((character) => special[character] ?? character).join("");

  function number(cell) { // mean, spread, seeds, mark: the same as in tables.tex
    const seeds = cell.querySelector("small");
    if (!seeds) return escaped(plain(cell));
    const copy = cell.cloneNode(true);
    for (const one of copy.querySelectorAll("small, .flag")) one.remove();
    const text = escaped(plain(copy));
    const mean = cell.classList.contains("best") ? text.replace(/^\S+/, (found) => `\\textbf{${found}}`) : text;
    return `${mean} (${parseInt(plain(seeds).slice(1), 10)})${cell.querySelector(".flag") ? "$^\\dagger$" : ""}`;
  }

  function latex(table) {
    const columns = table.columns.map((column, place) => ({ ...column, place })).filter((column) => column.shown);
    const rows = sorted(table).filter(({ row }) => !row.hidden);
    const line = (texts) => `${texts.join(" & ")} \\\\`;
    const numeric = (text) => !text || !Number.isNaN(value(text));
    const right = ({ suite, place }) => suite || rows.every(({ cells }) => numeric(plain(cells[place])));
    const head = [line(columns.map(({ name }) => escaped(name)))];
    const size = `${rows.length} of ${table.rows.length} rows, ${columns.length} of ${table.columns.length} columns`;
    const told = ["% \\usepackage{booktabs}", `% ${size}`];
    let legend = "";
    if (table.results) {
      const above = [], rules = [];
      for (let at = 0; at < columns.length; ) {
        const { suite } = columns[at];
        const count = columns.slice(at).findIndex((column) => column.suite !== suite);
        const to = count < 0 ? columns.length : at + count;
        if (suite) {
          above.push(`\\multicolumn{${to - at}}{c}{${escaped(suite)}}`);
          rules.push(`\\cmidrule(lr){${at + 1}-${to}}`);
        } else above.push(...columns.slice(at, to).map(() => ""));
        at = to;
      }
      head.unshift(line(above), rules.join(""));
      head.push(line(columns.map(({ direction }) => escaped(direction))));
      const notes = [...table.section.querySelectorAll("dl.notes dd")].map(plain);
      const first = table.columns.findIndex((column) => column.suite);
      for (const { suite, full, place } of columns) if (suite) told.push(`% ${full}: ${notes[place - first]}`);
      legend = ` ${escaped(plain(document.getElementById("legend")))}`;
    }
    const dot = /[.?!]$/.test(table.title) ? "" : ".";
    return [...told, "\\begin{table}", `\\caption{${escaped(table.title)}${dot}${legend}}`,
      `\\begin{tabular}{${columns.map((column) => (right(column) ? "r" : "l")).join("")}}`, "\\toprule", ...head, "\\midrule",
      ...rows.map(({ cells }) => line(columns.map(({ place }) => number(cells[place])))),
      "\\bottomrule", "\\end{tabular}", "\\end{table}", ""].join("\n");
  }

  // Browsers may refuse the clipboard to a page that was opened from a file: then the text is laid out, selected.
  async function copy(text, what, button) {
    try {
      await navigator.clipboard.writeText(text);
      say(`Copied: ${what}`);
      button.dataset.done = "copied";
      setTimeout(() => delete button.dataset.done, 2000);
    } catch {
      button.parentElement.querySelector("textarea")?.remove();
      const area = make("textarea", { readOnly: true, value: text, rows: Math.min(12, text.split("\n").length) });
      area.setAttribute("aria-label", `${what}, selected: copy it with the keyboard, Escape closes`);
      area.addEventListener("keydown", (event) => { if (event.key === "Escape") { area.remove(); button.focus(); } });
      button.parentElement.append(area);
      area.focus();
      area.select();
      say("The clipboard is not open to this page: the text is selected, copy it with the keyboard. Escape closes it");
    }
  }

  // ---- controls of each table ----
  function chooser(table) {
    const box = make("details", { className: "choose" }, make("summary", {}, "Columns"));
    box.firstChild.setAttribute("aria-label", `Columns of ${table.title}`);
    box.addEventListener("toggle", () => {
      if (box.children.length > 1) return;
      const list = make("fieldset", {}, make("legend", { className: "unseen" }, `Columns of ${table.title}`));
      table.columns.forEach((column, place) => {
        if (!place) return; // it names the row
        column.box = make("input", { type: "checkbox", checked: !table.off.has(place) });
        column.box.addEventListener("change", () => {
          table.off[column.box.checked ? "delete" : "add"](place);
          changed("", `${column.full} ${column.box.checked ? "shown" : "hidden"}`);
        });
        list.append(make("label", {}, column.box, ` ${column.full}`));
      });
      box.append(list);
    });
    return box;
  }

  for (const table of tables) {
    table.columns.forEach((column, at) => {
      const button = make("button", { type: "button", className: "sort" });
      if (column.cell.querySelector("a")) column.cell.querySelector("small").append(" ", button);
      else { button.append(...column.cell.childNodes); column.cell.append(button); }
      if (column.suite || !column.name) button.setAttribute("aria-label", `Sort by ${column.full || "this column"}`);
      else button.title = "Sort";
      const down = column.better === "1"; // the best first, then the other way, then as it was
      button.addEventListener("click", () => {
        const again = table.sort?.at === at;
        table.sort = again ? (table.sort.down === down ? { at, down: !down } : null) : { at, down };
        const way = table.sort?.down ? "descending" : "ascending";
        changed("", table.sort ? `sorted by ${column.full}, ${way}` : "in the order of the page");
      });
    });
    const button = make("button", { type: "button" }, "Copy as LaTeX");
    button.setAttribute("aria-label", `Copy as LaTeX: ${table.title}`);
    button.addEventListener("click", () => copy(latex(table), "the table as LaTeX", button));
    table.none = make("p", { className: "soft", hidden: true }, "No row fits the filter.");
    table.box.before(make("div", { className: "tools" }, chooser(table), button), table.none);
  }
  form.addEventListener("input", ({ target }) => changed(target.name));
  form.addEventListener("change", () => { typing = ""; });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    for (const name of fields) form.elements[name].value = "";
    for (const table of tables) Object.assign(table, { sort: null, off: new Set() });
    changed();
  });
  const link = document.getElementById("link");
  link.addEventListener("click", () => copy(location.href.split("#")[0] + address(), "the link to this view", link));
  window.addEventListener("popstate", () => { typing = ""; restore(); });
  form.hidden = false;
  show();
  restore();
  performance.mark("ready");
})();
