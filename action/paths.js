// The input `path` as larder takes it: paths, and globs of what to leave out.
//
// Taken are `*`, `?` and `[a-z]` within a name, `**` for any number of
// directories, and `~`. Wildcards match names that begin with a dot, too.
// Lines that begin with `#` are comments. Unlike in actions/cache, what a line
// with `!` leaves out stays out, whatever lines follow.

'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { WrongInput } = require('./runner.js');

const WILDCARD = /[*?[]/;

function absolute(text) {
    const home = os.homedir();
    const expanded = text === '~' || text.startsWith('~/') ? home + text.slice(1) : text;
    return path.resolve(expanded);
}

/** A name's pattern as a regular expression's text. */
function nameSource(name) {
    return name.replace(/\[!?[^\]]+\]|[\s\S]/g, (piece) => {
        if (piece === '*') {
            return '[^/]*';
        }
        if (piece === '?') {
            return '[^/]';
        }
        if (piece.length > 2) {
            const negated = piece[1] === '!';
            const set = piece.slice(negated ? 2 : 1, -1).replace(/[\\^[]/g, '\\$&');
            return `(?!/)[${negated ? '^' : ''}${set}]`;
        }
        return piece.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
    });
}

/** An absolute pattern as a regular expression's text, without its ends. */
function source(pattern) {
    const names = pattern.split('/').filter((name) => name !== '');
    return names.map((name) => (name === '**' ? '(?:/[^/]+)*' : `/${nameSource(name)}`)).join('');
}

function expression(text, pattern) {
    try {
        return new RegExp(text);
    } catch {
        throw new WrongInput(`the input path has a pattern that cannot be read: ${pattern}`);
    }
}

/** Everything that matches; what lies in a match comes with it. */
function expand({ pattern, matches }, isLeftOut) {
    const names = pattern.split('/').slice(1);
    const first = names.findIndex((name) => WILDCARD.test(name));
    const deepest = names.includes('**') ? Infinity : names.length;
    const found = [];
    const visit = (directory, depth) => {
        let entries;
        try {
            entries = fs.readdirSync(directory, { withFileTypes: true });
        } catch {
            return; // It is absent, or not ours: nothing there matches.
        }
        for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
            const full = path.join(directory, entry.name);
            if (isLeftOut(full)) {
                continue;
            }
            if (matches.test(full)) {
                found.push(full);
            } else if (entry.isDirectory() && depth < deepest) {
                visit(full, depth + 1);
            }
        }
    };
    visit(`/${names.slice(0, first).join('/')}`, first + 1);
    return found;
}

/** A path as larder records it: below the working directory, the home, or the root. */
function recorded(full) {
    for (const base of [process.cwd(), os.homedir()]) {
        if (full.startsWith(`${base}/`)) {
            return full.slice(base.length);
        }
    }
    return full;
}

/** The lines as patterns, of what is wanted and of what is left out. */
function parse(lines) {
    const patterns = { wanted: [], left: [] };
    for (const line of lines.filter((one) => !one.startsWith('#'))) {
        const isLeft = line.startsWith('!');
        // `dir/**` is all of a directory.
        const pattern = absolute(isLeft ? line.slice(1).trim() : line).replace(/(?:\/\*\*)+$/, '');
        const end = isLeft ? '(?:/|$)' : '$';
        const matches = expression(`^${source(pattern)}${end}`, line);
        patterns[isLeft ? 'left' : 'wanted'].push({ pattern, matches });
    }
    if (patterns.wanted.length === 0) {
        throw new WrongInput('the input path names nothing to save');
    }
    return patterns;
}

/** The paths that are there, and those without wildcards whether they are or not. */
function resolve({ wanted, left }) {
    const isLeftOut = (full) => left.some(({ matches }) => matches.test(full));
    const paths = new Set();
    for (const one of wanted) {
        const found = WILDCARD.test(one.pattern) ? expand(one, isLeftOut) : [one.pattern];
        // A path that is named is saved whatever is excluded: larder's rule.
        found.filter((full) => !isLeftOut(full)).forEach((full) => paths.add(full));
    }
    return { paths: [...paths], excludes: left.map(({ pattern }) => recorded(pattern)) };
}

module.exports = { parse, resolve };
