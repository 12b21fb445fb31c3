// What larder says of keys, said before it runs: its own message would come
// after a command line that nobody wrote.

'use strict';

const { WrongInput } = require('./runner.js');

function checkKeys(keys) {
    for (const key of keys) {
        if (/[\u0000-\u001f\u007f-\u009f]/.test(key)) {
            throw new WrongInput(`a key has to be one line of plain text: ${JSON.stringify(key)}`);
        }
        if (Buffer.byteLength(key) > 512) {
            throw new WrongInput(`a key has at most 512 bytes: ${key}`);
        }
    }
}

module.exports = { checkKeys };
