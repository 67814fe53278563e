// mosca, in memory, with everything at its defaults: node mosca.cjs NODE_MODULES PORT
const [modules, port] = process.argv.slice(2)
const mosca = require(modules + '/mosca')
new mosca.Server({ host: '127.0.0.1', port: Number(port), persistence: { factory: mosca.persistence.Memory } })
