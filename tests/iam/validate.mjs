// Validates state machines with asl-validator: JSON on standard input, {name: definition}; JSON on standard output,
// {name: [problem, ...]} with the invalid ones only. Usage: node validate.mjs FOLDER, where FOLDER holds node_modules.
import {readFileSync} from 'node:fs'
import {createRequire} from 'node:module'

const validate = createRequire(`${process.argv[2]}/`)('asl-validator')
const wrong = {}
for (const [name, definition] of Object.entries(JSON.parse(readFileSync(0, 'utf8')))) {
  const {isValid, errors} = validate(definition)
  if (!isValid) wrong[name] = errors.map(error => JSON.stringify(error))
}
console.log(JSON.stringify(wrong))
