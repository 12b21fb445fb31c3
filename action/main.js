// The first step of `larder` and the only one of `larder/restore`: finds a
// cache and restores it. What post needs is left in the state.

'use strict';

const larder = require('./larder.js');
const { checkKeys } = require('./keys.js');
const { parse } = require('./paths.js');
const runner = require('./runner.js');

async function main() {
    const key = runner.requiredInput('key');
    const restoreKeys = runner.lines(runner.input('restore-keys'));
    checkKeys([key, ...restoreKeys]);
    // Only post needs it, but what is wrong with it is better heard now.
    parse(runner.lines(runner.requiredInput('path')));
    const lookupOnly = runner.flag('lookup-only');
    const failOnMiss = runner.flag('fail-on-cache-miss');
    const env = larder.settings();
    runner.setOutput('cache-primary-key', key);
    runner.saveState('key', key);

    let result = { hit: 'miss', key: null };
    let program = null;
    try {
        program = await larder.find();
        runner.saveState('program', program);
        const words = [`--key=${key}`, ...restoreKeys.map((prefix) => `--restore-key=${prefix}`)];
        result = await larder.run(program, [lookupOnly ? 'lookup' : 'restore', ...words], env);
    } catch (error) {
        if (!(error instanceof runner.NoCache)) {
            throw error;
        }
        runner.command('warning', error.message);
        // A key is not overwritten, unless what it holds is of no use to anyone.
        const damaged = error.damaged && (await isThere(program, key, env));
        runner.saveState('damaged', String(damaged));
    }

    const found = { exact: 'true', prefix: 'false', miss: '' }[result.hit];
    runner.setOutput('cache-hit', found);
    runner.setOutput('cache-matched-key', result.key || '');
    runner.saveState('matched-key', result.key || '');
    if (result.hit !== 'miss') {
        tell(result, lookupOnly);
    } else if (failOnMiss) {
        throw new runner.WrongInput(`there is no cache for ${key}, and fail-on-cache-miss is set`);
    } else {
        runner.say(`there is no cache for ${[key, ...restoreKeys].join(', ')}`);
    }
}

/** Whether there is anything under the key itself: it is what is damaged then. */
async function isThere(program, key, env) {
    try {
        const result = await larder.run(program, ['lookup', `--key=${key}`], env);
        return result.hit === 'exact';
    } catch {
        return false;
    }
}

function tell(result, lookupOnly) {
    const how = result.hit === 'exact' ? '' : ' (the newest for a prefix)';
    if (lookupOnly) {
        runner.say(`there is a cache: ${result.key}${how}`);
        return;
    }
    const { files, raw_bytes: raw, fetched_bytes: fetched, seconds } = result;
    runner.say(`restored ${result.key}${how}: ${files} files, ${larder.size(raw)}`);
    runner.say(`fetched ${larder.size(fetched)}, ${seconds.toFixed(2)} s`);
}

runner.step(main);
