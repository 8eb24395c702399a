// Decides questions of IAM with an evaluator that is not ours: JSON on standard input, JSON on standard output.
// Usage: node simulate.mjs FOLDER, where FOLDER holds node_modules. Each question: {policies: [document, ...], keyPolicy,
// action, resource, account, context}. Each answer: {result, ignored, error}.
import {readFileSync} from 'node:fs'
import {createRequire} from 'node:module'

const {runSimulation} = createRequire(`${process.argv[2]}/`)('@cloud-copilot/iam-simulate')

async function decide({policies, keyPolicy, action, resource, account, context}) {
  const answer = await runSimulation({
    identityPolicies: policies.map((policy, number) => ({name: `policy-${number}`, policy})),
    serviceControlPolicies: [],
    resourceControlPolicies: [],
    ...(keyPolicy ? {resourcePolicy: keyPolicy} : {}),
    request: {
      action,
      principal: 'arn:aws:iam::123456789012:role/function',
      resource: {resource, accountId: account ?? '123456789012'},
      contextVariables: context ?? {},
    },
  }, {})
  if (answer.resultType === 'error') return {result: 'Error', ignored: [], error: JSON.stringify(answer.errors)}
  const one = answer.result ?? answer.results[0]
  return {result: answer.overallResult, ignored: one.ignoredContextKeys ?? [], error: ''}
}

const questions = JSON.parse(readFileSync(0, 'utf8'))
const answers = []
for (const question of questions) answers.push(await decide(question))
console.log(JSON.stringify(answers))
