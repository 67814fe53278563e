/* Sends back what comes to soak/in/# to soak/out/#, at the QoS it came with; what ends in `kept`, retained. By paho C.
 *
 * Arguments: port, transport (tcp or ws), version (3.1.1 or 5), seconds of the keep-alive.
 */
#include <MQTTAsync.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static MQTTAsync client;
static int v5;

static void said(const char *what, int code) {
    printf("%s %d\n", what, code);
    fflush(stdout);
}

static void publish(const char *topic, int length, const void *payload, int qos, int retained) {
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    int code = MQTTAsync_send(client, topic, length, payload, qos, retained, &options);
    if (code != MQTTASYNC_SUCCESS) said("not sent:", code);
}

static void subscribed(void *context, MQTTAsync_successData *data) {
    (void)context, (void)data;
    publish("soak/status", 4, "here", 1, 1);
}

static void subscribed5(void *context, MQTTAsync_successData5 *data) {
    (void)data;
    subscribed(context, NULL);
}

/* At the first connection, and at each that follows by itself. */
static void connected(void *context, char *cause) {
    (void)context;
    printf("connected: %s\n", cause ? cause : "");
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    if (v5) options.onSuccess5 = subscribed5;
    else options.onSuccess = subscribed;
    int code = MQTTAsync_subscribe(client, "soak/in/#", 2, &options);
    if (code != MQTTASYNC_SUCCESS) said("not subscribed:", code);
}

static void lost(void *context, char *cause) {
    (void)context;
    printf("lost: %s\n", cause ? cause : "");
    fflush(stdout);
}

static void disconnected(void *context, MQTTProperties *properties, enum MQTTReasonCodes reason) {
    (void)context, (void)properties;
    said("disconnected by the broker:", (int)reason);
}

static int arrived(void *context, char *name, int length, MQTTAsync_message *message) {
    (void)context;
    char topic[256];
    snprintf(topic, sizeof topic, "soak/out/%.*s", (int)(length ? length : (int)strlen(name)) - 8, name + 8);
    size_t end = strlen(topic);
    int kept = end >= 4 && strcmp(topic + end - 4, "kept") == 0;
    publish(topic, message->payloadlen, message->payload, message->qos, kept);
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(name);
    return 1;
}

static void failed(void *context, MQTTAsync_failureData *data) {
    (void)context;
    said("onFailure", data ? data->code : 0);
}

static void failed5(void *context, MQTTAsync_failureData5 *data) {
    (void)context;
    said("onFailure5, reason", data ? (int)data->reasonCode : 0);
}

int main(int count, char **arguments) {
    if (count != 5) return 64;
    int ws = strcmp(arguments[2], "ws") == 0;
    v5 = strcmp(arguments[3], "5") == 0;
    char url[64];
    snprintf(url, sizeof url, "%s://127.0.0.1:%s", ws ? "ws" : "tcp", arguments[1]);

    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer;
    create.MQTTVersion = v5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
    int code = MQTTAsync_createWithOptions(&client, url, "echo-paho-c", MQTTCLIENT_PERSISTENCE_NONE, NULL, &create);
    if (code != MQTTASYNC_SUCCESS) return 1;
    MQTTAsync_setCallbacks(client, NULL, lost, arrived, NULL);
    MQTTAsync_setConnected(client, NULL, connected);
    MQTTAsync_setDisconnected(client, NULL, disconnected);

    MQTTAsync_connectOptions plain = MQTTAsync_connectOptions_initializer, five = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_connectOptions options = v5 ? five : plain;
    MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;
    will.topicName = "soak/status", will.message = "gone", will.qos = 1, will.retained = 1;
    options.will = &will;
    options.keepAliveInterval = atoi(arguments[4]);
    if (!v5) options.MQTTVersion = MQTTVERSION_3_1_1;
    options.automaticReconnect = 1, options.minRetryInterval = 1, options.maxRetryInterval = 1;
    if (v5) options.onFailure5 = failed5;
    else options.onFailure = failed;
    code = MQTTAsync_connect(client, &options);
    if (code != MQTTASYNC_SUCCESS) return 1;
    for (;;) pause();
}
