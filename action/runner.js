// What an action and its runner say to each other: inputs, outputs, the state
// that main leaves for post, and lines of the log.
//
// Instead of @actions/core, which would have to be installed or bundled.

'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');

/** An input or setting that cannot be meant: the only thing that fails a job by itself. */
class WrongInput extends Error {}

/** A cache cannot be had here and now: a warning, and the job goes on without. */
class NoCache extends Error {
    /** `damaged` says that the store has a cache which is of no use. */
    constructor(message, damaged = false) {
        super(message);
        this.damaged = damaged;
    }
}

/** The runner upper-cases names, and keeps their hyphens. */
function input(name) {
    return (process.env[`INPUT_${name.toUpperCase()}`] || '').trim();
}

function requiredInput(name) {
    const value = input(name);
    if (value === '') {
        throw new WrongInput(`the input ${name} is missing`);
    }
    return value;
}

function lines(text) {
    return text
        .split(/\r?\n/)
        .map((line) => line.trim())
        .filter((line) => line !== '');
}

/** YAML 1.2's words for true and false, as other actions take them. */
function flag(name) {
    const value = input(name);
    if (/^(true|True|TRUE)$/.test(value)) {
        return true;
    }
    if (/^(false|False|FALSE)?$/.test(value)) {
        return false;
    }
    throw new WrongInput(`the input ${name} is neither true nor false: ${value}`);
}

/** Nobody can end a value whose delimiter nobody could foresee. */
function append(file, name, value) {
    if (file) {
        const delimiter = `larder-${crypto.randomUUID()}`;
        fs.appendFileSync(file, `${name}<<${delimiter}\n${value}\n${delimiter}\n`);
    }
}

function setOutput(name, value) {
    append(process.env.GITHUB_OUTPUT, name, value);
}

/** For the post step, which finds it in `state`. */
function saveState(name, value) {
    append(process.env.GITHUB_STATE, name, value);
}

function state(name) {
    return process.env[`STATE_${name}`] || '';
}

/** A directory in which the job's later steps look for programs. */
function addPath(directory) {
    if (process.env.GITHUB_PATH) {
        fs.appendFileSync(process.env.GITHUB_PATH, `${directory}\n`);
    }
}

/** A line of the log. The runner takes `##[` for a command wherever it stands. */
function say(text) {
    const oneLine = text.replace(/[\r\n]+/g, ' ').replace(/##\[/g, '## [');
    process.stdout.write(`${oneLine.replace(/^\s*::/, ': :')}\n`);
}

function command(name, text) {
    const escaped = text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
    process.stdout.write(`::${name}::${escaped}\n`);
}

/**
 * Logs a group of lines that others wrote: names of files may look like the
 * runner's commands, so it is told to obey none until it hears the token.
 */
async function group(title, body) {
    command('group', title);
    const token = crypto.randomUUID();
    command('stop-commands', token);
    try {
        return await body();
    } finally {
        process.stdout.write(`::${token}::\n`);
        command('endgroup', '');
    }
}

/** Runs a step to its end: what it throws is told, and decides over the job. */
async function step(body) {
    try {
        await body();
    } catch (error) {
        if (error instanceof NoCache) {
            command('warning', error.message);
            return;
        }
        // What is neither is a mistake of this action, of which to hear more.
        command('error', error instanceof WrongInput ? error.message : error.stack);
        process.exitCode = 1;
    }
}

module.exports = {
    NoCache,
    WrongInput,
    addPath,
    command,
    flag,
    group,
    input,
    lines,
    requiredInput,
    saveState,
    say,
    setOutput,
    state,
    step,
};
