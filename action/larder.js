// Finds the program, or downloads it, and runs it.

'use strict';

const { spawn, spawnSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { NoCache, WrongInput, addPath, group, input, lines, say } = require('./runner.js');

/** Node's words for machines and systems, in those of the releases. */
const MACHINES = { x64: 'x86_64', arm64: 'aarch64' };
/** larder's exit code for damaged or missing data. */
const DAMAGED = 4;
const SYSTEMS = { linux: 'linux', darwin: 'macos' };

function isProgram(file) {
    try {
        fs.accessSync(file, fs.constants.X_OK);
        return fs.statSync(file).isFile();
    } catch {
        return false;
    }
}

/** The path of a program that runs here. */
async function find() {
    if (process.platform === 'win32' || process.env.RUNNER_OS === 'Windows') {
        throw new NoCache('larder does not run on Windows yet: this job goes on without a cache');
    }
    const given = input('larder');
    if (given !== '') {
        const program = path.resolve(given);
        if (!isProgram(program)) {
            throw new WrongInput(`the input larder names no program: ${program}`);
        }
        return program;
    }
    const directories = (process.env.PATH || '').split(path.delimiter).filter(path.isAbsolute);
    const onPath = directories.map((one) => path.join(one, 'larder')).find(isProgram);
    return onPath || download();
}

/** The release of the action's own version, kept for later jobs of this runner. */
async function download() {
    const repository = process.env.GITHUB_ACTION_REPOSITORY;
    const ref = process.env.GITHUB_ACTION_REF;
    const machine = MACHINES[process.arch];
    const system = SYSTEMS[process.platform];
    if (!repository || !ref) {
        throw new NoCache('larder is not on the PATH, and the action does not come from a release');
    }
    if (!machine || !system) {
        throw new NoCache(`larder is not on the PATH, and no release has it for ${process.arch}`);
    }
    const name = `larder-${machine}-${system}`;
    const place = process.env.LARDER_RELEASES || `https://github.com/${repository}/releases/download`;
    const archive = `${place}/${encodeURIComponent(ref)}/${name}.tar.gz`;
    try {
        const text = (await get(`${archive}.sha256`)).toString();
        const digest = (/^[0-9a-f]{64}\b/i.exec(text) || [''])[0].toLowerCase();
        if (digest === '') {
            throw new Error(`${archive}.sha256 is no SHA-256 sum`);
        }
        // By contents: a tag may move to another release.
        const tools = process.env.RUNNER_TOOL_CACHE || path.join(os.homedir(), '.cache');
        const home = path.join(tools, 'larder', digest);
        const program = path.join(home, 'larder');
        if (!isProgram(program)) {
            const bytes = await get(archive);
            const got = crypto.createHash('sha256').update(bytes).digest('hex');
            if (got !== digest) {
                throw new Error(`${archive} has the SHA-256 sum ${got} instead of ${digest}`);
            }
            unpack(bytes, name, home);
            say(`downloaded ${archive}`);
        }
        addPath(home);
        return program;
    } catch (error) {
        const hint = 'put larder on the PATH, or give its path in the input larder';
        throw new NoCache(`larder is not on the PATH, and was not downloaded: ${error.message}; ${hint}`);
    }
}

/** The bytes at a URL, asked for up to three times. */
async function get(url, attempt = 1) {
    let failure;
    try {
        const answer = await fetch(url, { signal: AbortSignal.timeout(120_000) });
        if (answer.ok) {
            return Buffer.from(await answer.arrayBuffer());
        }
        failure = new Error(`${url}: HTTP ${answer.status}`);
        if (answer.status < 500) {
            throw failure;
        }
    } catch (error) {
        if (error === failure) {
            throw error;
        }
        failure = new Error(`${url}: ${(error.cause || error).message}`);
    }
    if (attempt === 3) {
        throw failure;
    }
    await new Promise((resolve) => setTimeout(resolve, attempt * 1000));
    return get(url, attempt + 1);
}

/** Leaves `larder` in a directory, whole or not at all, whoever else does so meanwhile. */
function unpack(bytes, name, home) {
    fs.mkdirSync(path.dirname(home), { recursive: true });
    const stage = fs.mkdtempSync(`${home}-`);
    try {
        const tar = spawnSync('tar', ['-xzf', '-', '-C', stage], { input: bytes });
        if (tar.status !== 0) {
            throw new Error(`tar: ${tar.error ? tar.error.message : tar.stderr.toString().trim()}`);
        }
        const places = [path.join(stage, 'larder'), path.join(stage, name, 'larder')];
        const program = places.find(isProgram);
        if (!program) {
            throw new Error(`${name}.tar.gz holds no larder`);
        }
        fs.mkdirSync(home, { recursive: true });
        fs.renameSync(program, path.join(home, 'larder'));
    } finally {
        fs.rmSync(stage, { recursive: true, force: true });
    }
}

/** The store, where it stays out of the list of processes, and the scope. */
function settings() {
    const store = input('store') || process.env.LARDER_STORE;
    if (!store) {
        throw new WrongInput('the input store is missing, and LARDER_STORE is not set');
    }
    const scope = input('scope') || process.env.LARDER_SCOPE || process.env.GITHUB_REPOSITORY;
    const env = { ...process.env, LARDER_STORE: store };
    if (scope) {
        env.LARDER_SCOPE = scope;
    }
    const fallbacks = lines(input('fallback-scopes'));
    if (fallbacks.some((one) => one.includes(','))) {
        throw new WrongInput('the input fallback-scopes has one scope a line, without commas');
    }
    if (fallbacks.length > 0) {
        env.LARDER_FALLBACK_SCOPES = fallbacks.join(',');
    }
    // This action decides what a failure means.
    delete env.LARDER_IGNORE_ERROR;
    // It groups the log itself, and reads larder's messages as plain text.
    delete env.LARDER_LOG_FORMAT;
    env.LARDER_CI_LOG = 'never';
    // It has outputs of its own. What was moved is told in the summary of the step, unless
    // that is not wanted.
    if (env.LARDER_CI_OUTPUTS !== 'never') {
        env.LARDER_CI_OUTPUTS = 'summary';
    }
    delete env.LARDER_DOTENV;
    return env;
}

/**
 * Runs a command of larder and returns its result. A wrong command line is a
 * wrong input; all other failures are no reason to fail a job.
 */
async function run(program, words, env) {
    const { code, stdout, stderr } = await group(`larder ${words[0]}`, () => {
        return execute(program, ['--json', ...words], env);
    });
    let result = null;
    try {
        result = JSON.parse(stdout);
    } catch {
        // Arguments that could not be read, or a program that is not larder.
    }
    if (result !== null && !('error' in result) && code !== 2) {
        return result;
    }
    // The code of an error is what people look for in docs/errors.md.
    const told = stderr.replace(/^error(?:\[(\w+)\])?: /, (_, code) => (code ? `${code}: ` : ''));
    const why = result ? inOneLine(result) : told.split('\n\n')[0].trim() || 'it told nothing';
    const message = `larder ${words[0]} failed (exit code ${code}): ${why}`;
    throw code === 2 ? new WrongInput(message) : new NoCache(message, code === DAMAGED);
}

/** An error as larder tells programs. */
function inOneLine({ code, error, hint }) {
    return [code ? `${code}: ${error}` : error, hint].filter(Boolean).join('; ');
}

function execute(program, words, env) {
    return new Promise((resolve, reject) => {
        const child = spawn(program, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
        // A job that is cancelled: larder ends in order, and so does this.
        const pass = (signal) => child.kill(signal);
        process.on('SIGINT', pass);
        process.on('SIGTERM', pass);
        const texts = { stdout: '', stderr: '' };
        for (const name of ['stdout', 'stderr']) {
            child[name].setEncoding('utf8').on('data', (text) => {
                texts[name] += text;
                if (name === 'stderr') {
                    process.stdout.write(text);
                }
            });
        }
        child.on('error', (error) => reject(new NoCache(`${program} does not start: ${error.message}`)));
        child.on('close', (code, signal) => {
            process.off('SIGINT', pass);
            process.off('SIGTERM', pass);
            if (/[^\n]$/.test(texts.stderr)) {
                process.stdout.write('\n');
            }
            resolve({ ...texts, code: code === null ? signal : code });
        });
    });
}

/** A number of bytes as larder writes it. */
function size(bytes) {
    const units = ['B', 'kB', 'MB', 'GB', 'TB'];
    let unit = 0;
    let number = bytes;
    while (number >= 1000 && unit < units.length - 1) {
        number /= 1000;
        unit += 1;
    }
    return `${unit === 0 ? number : number.toFixed(2)} ${units[unit]}`;
}

module.exports = { find, run, settings, size };
