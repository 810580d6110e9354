/*
 * Uses every function of the library, from several threads, with a real feed.
 *
 *   client UPSTREAM SIGNER CREDENTIAL_FILE STALE_AFTER ROUNDS
 *
 * The keys are on the standard input, one a line: the first one opens `orders` and has the scope `read`,
 * the second one is of a service, and the third one is the second one as Basic. Then it waits for a line,
 * from which on the first key is to be refused as revoked, and for another one or the end of the input: after
 * a line, every call is to be refused as stale.
 */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "keyfob.h"

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

#define THREADS 4

static const keyfob_replica *shared;
static char basic_header[256];
static char first[256], second[256];
static int rounds;

static keyfob_view view(const char *text) {
    keyfob_view of = {text, text ? strlen(text) : 0};
    return of;
}

static int is(keyfob_view view, const char *text) {
    return view.length == strlen(text) && (view.length == 0 || memcmp(view.data, text, view.length) == 0);
}

/* One call. On a busy machine the process may seem to have been paused: then it is asked again. */
static keyfob_result verify(const keyfob_question *question, keyfob_verdict *verdict, keyfob_identity *identity) {
    for (int tried = 0;; tried++) {
        keyfob_result result = keyfob_verify(shared, question, verdict, identity);
        if (result != KEYFOB_REFUSED || !is(verdict->reason, "paused") || tried == 500) return result;
        CHECK(verdict->status == 503);
        struct timespec moment = {0, 10 * 1000 * 1000};
        nanosleep(&moment, NULL);
    }
}

/* The result of one call with this header (NULL: none), and its verdict. */
static keyfob_result ask(const char *header, const char *namespace, keyfob_verdict *verdict) {
    keyfob_view field = view(header);
    keyfob_question question = {0};
    question.size = sizeof question;
    question.authorization = &field;
    question.authorization_count = header ? 1 : 0;
    question.namespace_id = view(namespace);
    memset(verdict, 0xff, sizeof *verdict);
    verdict->size = sizeof *verdict;
    return verify(&question, verdict, NULL);
}

static void refused(const char *header, const char *namespace, uint32_t status, const char *reason) {
    keyfob_verdict verdict;
    CHECK(ask(header, namespace, &verdict) == KEYFOB_REFUSED);
    CHECK(verdict.status == status);
    CHECK(is(verdict.reason, reason));
    CHECK(verdict.namespace_id.length == 0 && verdict.team_id.length == 0);
    CHECK(verdict.expires_at == INT64_MAX);
}

static void *verify_much(void *unused) {
    (void)unused;
    for (int round = 0; round < rounds; round++) {
        keyfob_verdict verdict;
        CHECK(ask(first, "orders", &verdict) == KEYFOB_OK);
        CHECK(verdict.status == 200 && verdict.size == sizeof verdict);
        CHECK(is(verdict.namespace_id, "orders") && is(verdict.team_id, "acme"));
        CHECK(verdict.reason.length == 0);
        /* The header is "Bearer " and the key, whose id comes before the colon. */
        size_t length = strlen(verdict.credential);
        CHECK(length == 40 && memcmp(verdict.credential, first + 7, length) == 0);
        CHECK(first[7 + length] == ':');
        CHECK(ask(second, "billing", &verdict) == KEYFOB_OK);
        refused(first, "billing", 403, "wrong_namespace");
        refused("Bearer nothing", "orders", 401, "malformed");
    }
    return NULL;
}

static void check_identities(void) {
    keyfob_view field = view(first), read = view("read"), write = view("write");
    keyfob_question question = {sizeof question, &field, 1, view("orders"), 0, NULL, 0};
    keyfob_verdict verdict = {.size = sizeof verdict};
    keyfob_identity identity;
    memset(&identity, 0xff, sizeof identity);
    identity.size = sizeof identity;
    CHECK(verify(&question, &verdict, &identity) == KEYFOB_OK);
    CHECK(identity.kind == KEYFOB_PERSONAL);
    CHECK(strcmp(identity.owner, "user:alice") == 0 && identity.owner_length == 10);
    CHECK(strcmp(identity.scopes, "invoke read") == 0 && identity.scopes_length == 11);
    CHECK(verdict.expires_at > time(NULL) && verdict.expires_at < time(NULL) + 7200);

    /* Scopes. */
    question.scopes = &read;
    question.scopes_count = 1;
    CHECK(verify(&question, &verdict, NULL) == KEYFOB_OK);
    question.scopes = &write;
    CHECK(verify(&question, &verdict, &identity) == KEYFOB_REFUSED);
    CHECK(verdict.status == 403 && is(verdict.reason, "missing_scope"));
    CHECK(strncmp(verdict.credential, "acme_v1_", 8) == 0);
    CHECK(identity.kind == KEYFOB_NONE && identity.owner[0] == 0 && identity.scopes[0] == 0);
    CHECK(identity.owner_length == 0 && identity.scopes_length == 0);

    /* The credential's own namespace. */
    field = view(second);
    question = (keyfob_question){sizeof question, &field, 1, view(NULL), 1, NULL, 0};
    CHECK(verify(&question, &verdict, &identity) == KEYFOB_OK);
    CHECK(is(verdict.namespace_id, "billing"));
    CHECK(identity.kind == KEYFOB_SERVICE && strcmp(identity.owner, "service:bot") == 0);
    CHECK(strcmp(identity.scopes, "*") == 0);
    CHECK(verdict.expires_at == INT64_MAX);

    field = view(basic_header);
    CHECK(verify(&question, &verdict, NULL) == KEYFOB_OK);
}

static void wrong(const keyfob_question *question, const char *reason) {
    keyfob_verdict verdict = {.size = sizeof verdict};
    verdict.status = 200;
    CHECK(verify(question, &verdict, NULL) == KEYFOB_INVALID);
    CHECK(verdict.status == 503 && is(verdict.reason, reason) && verdict.credential[0] == 0);
}

/* Everything that a program can get wrong and the library can notice: nothing passes. */
static void check_mistakes(void) {
    keyfob_view field = view(first), twice[2] = {field, field};
    keyfob_view impossible = {NULL, 3}, endless = {first, SIZE_MAX};
    const keyfob_question right = {sizeof right, &field, 1, view("orders"), 0, NULL, 0};
    keyfob_question question = right;
    keyfob_verdict verdict = {.size = sizeof verdict};
    keyfob_identity identity = {.size = sizeof identity};
    CHECK(verify(&right, &verdict, &identity) == KEYFOB_OK);

    CHECK(verify(&right, NULL, NULL) == KEYFOB_INVALID);
    verdict.size = sizeof verdict - 1;
    CHECK(verify(&right, &verdict, NULL) == KEYFOB_INVALID);
    verdict.size = sizeof verdict;
    identity.size = 0;
    CHECK(verify(&right, &verdict, &identity) == KEYFOB_INVALID);
    CHECK(verdict.status == 503 && is(verdict.reason, "identity_size"));
    verdict.status = 200;
    CHECK(keyfob_verify(NULL, &right, &verdict, NULL) == KEYFOB_INVALID);
    CHECK(verdict.status == 503 && is(verdict.reason, "null_replica"));
    wrong(NULL, "null_question");

    question.size = 0;
    wrong(&question, "question_size");
    question = right;
    question.namespace_id = view(NULL); /* a variable that has no value */
    wrong(&question, "namespace");
    question.namespace_id = impossible;
    wrong(&question, "namespace");
    question.namespace_id = view("\xff");
    wrong(&question, "namespace");
    question = right;
    question.own_namespace = 1; /* and a namespace */
    wrong(&question, "namespace");
    question.own_namespace = 0xffffffff;
    question.namespace_id = view(NULL);
    wrong(&question, "namespace");
    question = right;
    question.authorization = NULL;
    wrong(&question, "authorization");
    question.authorization = &impossible;
    wrong(&question, "authorization");
    question.authorization = &endless;
    wrong(&question, "authorization");
    question = right;
    question.scopes_count = 1;
    wrong(&question, "scopes");
    question.scopes = &impossible;
    wrong(&question, "scopes");
    keyfob_view space = view("a b");
    question.scopes = &space;
    wrong(&question, "scopes");
    keyfob_view many[65];
    for (int i = 0; i < 65; i++) many[i] = view("read");
    question.scopes = many;
    question.scopes_count = 65;
    wrong(&question, "scopes");

    /* Two fields, and none: decisions. */
    question = right;
    question.authorization = twice;
    question.authorization_count = 2;
    CHECK(verify(&question, &verdict, NULL) == KEYFOB_REFUSED);
    CHECK(verdict.status == 401 && is(verdict.reason, "repeated_header"));
    refused(NULL, "orders", 401, "no_credential");
    refused("", "orders", 401, "malformed");

    keyfob_state state = {0};
    CHECK(keyfob_read_state(shared, &state) == KEYFOB_INVALID);
    CHECK(keyfob_read_state(shared, NULL) == KEYFOB_INVALID);
    char text[4];
    CHECK(keyfob_last_error(shared, text, 0) == KEYFOB_INVALID);
    CHECK(keyfob_last_error(NULL, text, sizeof text) == KEYFOB_INVALID);
    CHECK(keyfob_wait_ready(NULL, 0) == KEYFOB_INVALID);
    keyfob_close(NULL);
    keyfob_options_free(NULL);
}

/* Errors of the options say which one, and fit their buffer. */
static void check_options(void) {
    char error[64];
    keyfob_replica *replica = (keyfob_replica *)error;
    keyfob_options *options = keyfob_options_new();
    CHECK(options);
    CHECK(keyfob_options_set(options, view("stale_after"), view("soon"), error, sizeof error) == KEYFOB_INVALID);
    CHECK(strncmp(error, "stale_after: must be a duration", 31) == 0);
    CHECK(keyfob_options_set(options, view("stale_after"), view("soon"), error, 6) == KEYFOB_INVALID);
    CHECK(strcmp(error, "stale") == 0);
    CHECK(keyfob_options_set(options, view("stale_after"), view("soon"), NULL, 0) == KEYFOB_INVALID);
    CHECK(keyfob_options_set(NULL, view("stale_after"), view("5s"), error, sizeof error) == KEYFOB_INVALID);
    CHECK(keyfob_options_set(options, view(NULL), view("5s"), error, sizeof error) == KEYFOB_INVALID);
    CHECK(keyfob_open(options, &replica, error, sizeof error) == KEYFOB_INVALID);
    CHECK(replica == NULL && strncmp(error, "signers: ", 9) == 0);
    CHECK(keyfob_open(NULL, &replica, error, sizeof error) == KEYFOB_INVALID);
    CHECK(keyfob_open(options, NULL, error, sizeof error) == KEYFOB_INVALID);
    CHECK(strncmp(error, "replica: ", 9) == 0);
    keyfob_options_free(options);
}

static volatile sig_atomic_t signalled;

static void on_signal(int number) {
    (void)number;
    signalled = 1;
}

/* A signal that this thread blocks stays pending: no thread of the library takes it. */
static void check_signals(void) {
    sigset_t set, before;
    struct sigaction action = {0};
    action.sa_handler = on_signal;
    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    kill(getpid(), SIGUSR1);
    struct timespec moment = {0, 200 * 1000 * 1000};
    nanosleep(&moment, NULL);
    CHECK(!signalled);
    sigpending(&set);
    CHECK(sigismember(&set, SIGUSR1));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    CHECK(signalled);
}

/* A child refuses everything, and may close what it inherited. */
static void check_fork(void) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        keyfob_verdict verdict;
        keyfob_state state = {.size = sizeof state};
        char text[64];
        if (ask(first, "orders", &verdict) != KEYFOB_FORKED) _exit(2);
        if (verdict.status != 503 || !is(verdict.reason, "forked")) _exit(3);
        if (keyfob_read_state(shared, &state) != KEYFOB_FORKED) _exit(4);
        if (keyfob_last_error(shared, text, sizeof text) != KEYFOB_FORKED) _exit(5);
        if (keyfob_wait_ready(shared, 1000) != KEYFOB_FORKED) _exit(6);
        keyfob_close((keyfob_replica *)shared);
        /* Not _exit: valgrind would count what the threads of the parent had as lost. */
        execl("/bin/sh", "sh", "-c", "exit 0", (char *)NULL);
        _exit(7);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    keyfob_verdict verdict;
    CHECK(ask(first, "orders", &verdict) == KEYFOB_OK);
}

/* Waits until calls are refused like this. None passes from the first one on if `at_once`. */
static void await(const char *header, const char *namespace, uint32_t status, const char *reason, int at_once) {
    for (int waited = 0; waited < 2000; waited++) {
        keyfob_verdict verdict;
        keyfob_result result = ask(header, namespace, &verdict);
        /* Without a feed, what was revoked in a pause is never known. */
        int paused = status == 503 && is(verdict.reason, "paused");
        if (result == KEYFOB_REFUSED && (paused || is(verdict.reason, reason))) {
            CHECK(verdict.status == status);
            return;
        }
        CHECK(result == KEYFOB_OK && !at_once);
        struct timespec moment = {0, 10 * 1000 * 1000};
        nanosleep(&moment, NULL);
    }
    fprintf(stderr, "never refused as %s\n", reason);
    exit(1);
}

/* Waits until there is no thread of the library's any more. */
static void await_end_of_threads(void) {
    for (int waited = 0; waited < 1000; waited++) {
        int threads = 0;
        DIR *tasks = opendir("/proc/self/task");
        if (!tasks) return;
        for (struct dirent *task; (task = readdir(tasks));) threads += task->d_name[0] != '.';
        closedir(tasks);
        if (threads == 1) return;
        struct timespec moment = {0, 10 * 1000 * 1000};
        nanosleep(&moment, NULL);
    }
    fprintf(stderr, "a thread of the library does not end\n");
    exit(1);
}

static void line(char *to, size_t size) {
    CHECK(fgets(to, (int)size, stdin));
    to[strcspn(to, "\n")] = 0;
}

static void say(const char *what) {
    puts(what);
    fflush(stdout);
}

int main(int argc, char **argv) {
    CHECK(argc == 6);
    char error[256], next[64];
    rounds = atoi(argv[5]);
    line(first, sizeof first);
    line(second, sizeof second);
    line(basic_header, sizeof basic_header);
    CHECK(strcmp(keyfob_version(), "0.1.0") == 0);
    check_options();

    keyfob_options *options = keyfob_options_new();
    const char *settings[][2] = {
        {"upstream", argv[1]}, {"signers", argv[2]}, {"credential_file", argv[3]},
        {"stale_after", argv[4]}, {"name", "client.c"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (keyfob_options_set(options, view(settings[i][0]), view(settings[i][1]), error, sizeof error)) {
            fprintf(stderr, "%s\n", error);
            return 1;
        }
    }
    keyfob_replica *replica;
    if (keyfob_open(options, &replica, error, sizeof error)) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    keyfob_options_free(options);
    shared = replica;
    /* Nothing passes before the feed was read; it may have been by now. */
    keyfob_verdict verdict;
    if (ask(first, "orders", &verdict) != KEYFOB_OK) CHECK(is(verdict.reason, "not_ready") && verdict.status == 503);
    CHECK(keyfob_wait_ready(replica, 20000) == KEYFOB_OK);
    keyfob_state state = {.size = sizeof state};
    CHECK(keyfob_read_state(replica, &state) == KEYFOB_OK);
    CHECK(state.ready == 1 && state.failed == 0 && state.revision > 0);
    CHECK(state.age < 5 && state.confirmed_at > 1600000000);
    CHECK(keyfob_last_error(replica, error, sizeof error) == KEYFOB_OK && error[0] == 0);

    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, verify_much, NULL) == 0);
    check_identities();
    check_mistakes();
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    check_signals();
    check_fork();

    say("verified");
    line(next, sizeof next);
    /* It was stopped while the key was revoked and this line was written. */
    await(first, "orders", 401, "revoked", 1);
    CHECK(ask(second, "billing", &verdict) == KEYFOB_OK);
    say("revoked");
    if (fgets(next, sizeof next, stdin)) {
        await(second, "billing", 503, "stale", 0);
        CHECK(keyfob_read_state(replica, &state) == KEYFOB_OK && state.ready == 0);
        CHECK(keyfob_last_error(replica, error, sizeof error) == KEYFOB_OK && error[0] != 0);
        CHECK(keyfob_wait_ready(replica, 20) == KEYFOB_NOT_READY);
        say("stale");
    }
    keyfob_close(replica);
    await_end_of_threads();
    return 0;
}
