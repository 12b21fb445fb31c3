// What the page can do beyond being read: look into a directory, sort, filter. All text
// it shows it takes from the page, as text.
'use strict';
document.documentElement.classList.add('js');

function make(name, text, properties) {
  return Object.assign(document.createElement(name), { textContent: text }, properties);
}

function around(tile) {
  return tile.parentElement.closest('.tiles li');
}

for (const map of document.querySelectorAll('.map')) {
  const top = map.querySelector('.tiles');
  const crumbs = map.querySelector('.crumbs');
  const status = map.querySelector('.status');
  const caption = status.textContent;
  const tiles = [...top.querySelectorAll('li')];
  let root = null;

  if (top.querySelector('ul')) {
    const hint = 'Choose a directory to look into it: by a click, or by arrow keys and Enter; Escape leaves it.';
    map.append(make('p', hint, { className: 'hint' }));
  }
  top.setAttribute('role', 'tree');
  for (const group of top.querySelectorAll('ul')) group.setAttribute('role', 'group');
  for (const tile of tiles) {
    tile.setAttribute('role', 'treeitem');
    tile.setAttribute('aria-label', tile.title);
  }

  const tell = (tile) => { status.textContent = tile ? tile.title : caption; };
  const inside = (tile) => [...(tile ? tile.querySelectorAll(':scope > ul > li') : top.children)];

  // Of all tiles, Tab finds the one that was looked at last.
  const stop = (tile) => {
    for (const other of tiles) other.tabIndex = -1;
    if (tile) tile.tabIndex = 0;
  };
  const go = (tile) => {
    if (!tile) return;
    tile.focus();
    // Too small to be seen, it does not take the focus.
    if (document.activeElement === tile) stop(tile);
  };

  stop(tiles[0]);

  const zoom = (tile) => {
    root = tile;
    for (const other of tiles) other.classList.remove('on', 'at');
    map.classList.toggle('zoomed', Boolean(tile));
    crumbs.hidden = !tile;
    crumbs.textContent = '';
    const path = [];
    for (let at = tile; at; at = around(at)) path.unshift(at);
    for (const at of path) at.classList.add(at === tile ? 'at' : 'on');
    for (const at of [null, ...path]) {
      const name = at ? at.querySelector('.name').textContent : 'All';
      if (at !== tile) crumbs.append(make('button', name, { type: 'button', onclick: () => { zoom(at); go(inside(at)[0]); } }), ' / ');
      else crumbs.append(make('strong', name));
    }
    stop(inside(tile)[0]);
    tell(tile);
  };

  const steps = {
    ArrowRight: (tile) => tile.nextElementSibling,
    ArrowLeft: (tile) => tile.previousElementSibling,
    ArrowDown: (tile) => tile.querySelector('li'),
    ArrowUp: (tile) => (around(tile) === root ? null : around(tile)),
  };
  top.addEventListener('keydown', (event) => {
    const tile = event.target.closest('li');
    if (steps[event.key]) go(steps[event.key](tile));
    else if (event.key === 'Enter' && tile.querySelector('li')) { zoom(tile); go(inside(tile)[0]); }
    else if (event.key === 'Escape' && root) { const left = root; zoom(around(root)); go(left); }
    else return;
    event.preventDefault();
  });
  top.addEventListener('click', (event) => {
    let tile = event.target.closest('li');
    while (tile && !tile.querySelector('li')) tile = around(tile);
    if (tile && tile !== root) zoom(tile);
  });
  top.addEventListener('mouseover', (event) => tell(event.target.closest('li') || root));
  top.addEventListener('mouseleave', () => tell(root));
  top.addEventListener('focusin', (event) => tell(event.target.closest('li')));
}

for (const table of document.querySelectorAll('table.sortable')) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  };
  heads.forEach((head, column) => {
    const button = make('button', head.textContent, { type: 'button' });
    button.onclick = () => {
      const numbers = head.classList.contains('n');
      const down = head.ariaSort ? head.ariaSort === 'ascending' : numbers;
      for (const other of heads) other.ariaSort = null;
      head.ariaSort = down ? 'descending' : 'ascending';
      const rows = [...body.rows].map((row) => [value(row, column), row]);
      rows.sort(([a], [b]) => (typeof a === 'number' ? a - b : a.localeCompare(b, 'en', { numeric: true })) * (down ? -1 : 1));
      body.append(...rows.map(([, row]) => row));
    };
    head.replaceChildren(button);
  });
}

for (const table of document.querySelectorAll('table.filtered')) {
  const label = make('label', 'Show keys and scopes with ', { className: 'filter' });
  const input = make('input', '', { type: 'search' });
  input.oninput = () => {
    const wanted = input.value.toLowerCase();
    for (const row of table.tBodies[0].rows) {
      row.hidden = ![...row.querySelectorAll('.path')].some((cell) => cell.textContent.toLowerCase().includes(wanted));
    }
  };
  label.append(input);
  table.parentElement.before(label);
}

// On paper nothing can be opened.
let opened = [];
addEventListener('beforeprint', () => {
  opened = [...document.querySelectorAll('details:not([open])')];
  for (const details of opened) details.open = true;
});
addEventListener('afterprint', () => { for (const details of opened) details.open = false; });
