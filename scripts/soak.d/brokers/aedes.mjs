// aedes, in memory, with everything at its defaults: node aedes.mjs NODE_MODULES PORT
import { createServer } from 'node:net'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [modules, port] = process.argv.slice(2)
const { Aedes } = await import(pathToFileURL(createRequire(modules + '/').resolve('aedes')).href)
const aedes = await Aedes.createBroker()
createServer(aedes.handle).listen(Number(port), '127.0.0.1')
