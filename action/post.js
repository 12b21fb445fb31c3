// The last step of `larder` and the only one of `larder/save`: saves, unless
// the key was found. `larder/save` has no state of an earlier step.

'use strict';

const { checkKeys } = require('./keys.js');
const larder = require('./larder.js');
const { parse, resolve } = require('./paths.js');
const runner = require('./runner.js');

async function post() {
    // The state first: expressions in inputs may say something else by now.
    const key = runner.state('key') || runner.requiredInput('key');
    checkKeys([key]);
    if (runner.state('key') !== '' && runner.state('program') === '') {
        runner.say('larder was not found at the start of the job: nothing is saved');
        return;
    }
    if (runner.state('matched-key') === key) {
        runner.say(`${key} was found at the start of the job: nothing is saved`);
        return;
    }
    const patterns = parse(runner.lines(runner.requiredInput('path')));
    const env = larder.settings();
    const program = runner.state('program') || (await larder.find());
    const { paths, excludes } = resolve(patterns);
    if (paths.length === 0) {
        throw new runner.NoCache(`nothing matches the input path: ${key} is not saved`);
    }
    const how = runner.state('damaged') === 'true' ? '--no-reuse' : '--if-absent';
    const flags = [`--key=${key}`, how, '--allow-missing'];
    flags.push(...excludes.map((glob) => `--exclude=${glob}`));
    const result = await larder.run(program, ['save', ...flags, '--', ...paths], env);
    tell(key, result);
}

function tell(key, result) {
    if (result.already_there) {
        runner.say(`${key} exists already: nothing was saved`);
        return;
    }
    const { files, raw_bytes: raw, uploaded_bytes: uploaded, seconds } = result;
    runner.say(`saved ${key}: ${files} files, ${larder.size(raw)}`);
    runner.say(`uploaded ${larder.size(uploaded)}, ${seconds.toFixed(2)} s`);
}

runner.step(post);
