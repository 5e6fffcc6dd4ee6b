// Tables are sorted by a click on a heading; without scripts they stay as they are.
(() => {
  "use strict";
  const value = cell => {
    const text = (cell.dataset.value ?? cell.textContent).trim().replace("−", "-");
    if (text === "" || text === "–") return null;
    const number = parseFloat(text.replace(/^< */, ""));
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const compare = (a, b) => typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0)
    : typeof a === "number" ? -1 : 1;
  const sort = (table, column, rising) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map(row => ({ row, key: value(row.cells[column]) }));
    rows.sort((a, b) => a.key === null ? (b.key === null ? 0 : 1) : b.key === null ? -1
      : (rising ? 1 : -1) * compare(a.key, b.key));
    body.append(...rows.map(item => item.row));
  };
  for (const table of document.querySelectorAll("table")) {
    if (!table.tHead || table.tBodies[0].rows.length < 3) continue;
    table.classList.add("sortable");
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const rising = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach(other => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", rising ? "ascending" : "descending");
        sort(table, column, rising);
      });
    });
  }
})();
