// Decides questions of IAM with an evaluator that is not ours. Usage: node simulate.mjs FOLDER, where FOLDER holds
// node_modules. Each line of standard input is {roles: {name: [policy document, ...]}, keyPolicy, questions: [{role, action,
// resource, account, context}, ...]}; each line of standard output is a list of {result, ignored, error}, one a question.
import {createInterface} from 'node:readline'
import {createRequire} from 'node:module'

const {runSimulation} = createRequire(`${process.argv[2]}/`)('@cloud-copilot/iam-simulate')

async function decide(policies, keyPolicy, {action, resource, account, context}) {
  const answer = await runSimulation({
    identityPolicies: policies.map((policy, number) => ({name: `policy-${number}`, policy})),
    serviceControlPolicies: [],
    resourceControlPolicies: [],
    ...(action.startsWith('kms:') ? {resourcePolicy: keyPolicy} : {}),
    request: {
      action,
      principal: 'arn:aws:iam::123456789012:role/function',
      resource: {resource, accountId: account},
      contextVariables: context,
    },
  }, {})
  if (answer.resultType === 'error') return {result: 'Error', ignored: [], error: JSON.stringify(answer.errors)}
  const one = answer.result ?? answer.results[0]
  return {result: answer.overallResult, ignored: one.ignoredContextKeys ?? [], error: ''}
}

for await (const line of createInterface({input: process.stdin})) {
  const {roles, keyPolicy, questions} = JSON.parse(line)
  const answers = []
  for (const question of questions) answers.push(await decide(roles[question.role], keyPolicy, question))
  console.log(JSON.stringify(answers))
}
