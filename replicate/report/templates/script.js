document.documentElement.classList.add("js");
addEventListener("DOMContentLoaded", () => {
  const value = (row, i) => {
    const cell = row.cells[i], v = cell.dataset.v ?? cell.textContent.trim();
    return v === "" ? null : isNaN(v) ? v.toLowerCase() : Number(v);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((th, i) => {
      if (th.hasAttribute("data-nosort")) return;
      const button = document.createElement("button");
      button.type = "button"; button.className = "sort"; button.append(...th.childNodes); th.append(button);
      th.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const down = th.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
        th.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].map((row) => [value(row, i), row]);
        rows.sort(([a], [b]) => {
          if (a === null || b === null) return (a === null) - (b === null);
          const order = typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;
          return down ? -order : order;
        });
        body.append(...rows.map(([, row]) => row));
      });
    });
  }
  for (const form of document.querySelectorAll("form.filter")) {
    const table = document.getElementById(form.dataset.for), rows = [...table.tBodies[0].rows];
    const [text, verdict] = [form.elements.text, form.elements.verdict], status = form.querySelector("[role=status]");
    const show = () => {
      let n = 0;
      for (const row of rows) {
        const ok = (!verdict || !verdict.value || row.dataset.verdict === verdict.value)
          && row.textContent.toLowerCase().includes(text.value.trim().toLowerCase());
        row.hidden = !ok; n += ok;
      }
      status.textContent = `${n} of ${rows.length} shown`;
    };
    form.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    show();
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    const code = button.parentElement.querySelector("code");
    try { await navigator.clipboard.writeText(code.textContent); button.textContent = "copied"; }
    catch { getSelection().selectAllChildren(code); button.textContent = "selected"; }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
});
