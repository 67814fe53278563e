// Node-RED without an editor: flows in the folder that it is started with, nothing but loopback.
module.exports = {
    flowFile: "flows.json",
    uiHost: "127.0.0.1",
    uiPort: Number(process.env.SOAK_UI_PORT),
    httpAdminRoot: false,
    httpNodeRoot: false,
    mqttReconnectTime: 1000, // 15000 by itself
    credentialSecret: false,
    editorTheme: { projects: { enabled: false } },
    logging: { console: { level: "info", metrics: false, audit: false } },
};
