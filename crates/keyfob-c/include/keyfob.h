/*
 * Keyfob: verifies access keys from memory.
 *
 * Made from the sources of crates/keyfob-c by cbindgen: do not edit.
 * crates/keyfob-c/README.md has an example.
 */

#ifndef KEYFOB_H
#define KEYFOB_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define KEYFOB_MUST_USE __attribute__((warn_unused_result))
#else
#define KEYFOB_MUST_USE
#endif

/**
 * The room for the id of a credential, with its NUL.
 */
#define KEYFOB_CREDENTIAL_SIZE 64

/**
 * The room for the owner of a key, with its NUL.
 */
#define KEYFOB_OWNER_SIZE 144

/**
 * The room for the scopes of a key, with its NUL: 64 scopes of 64 characters.
 */
#define KEYFOB_SCOPES_SIZE 4168

/**
 * A flag of a verdict: the secret was replaced by a rotation, and its grace period still runs.
 */
#define KEYFOB_REPLACED_SECRET 1

/**
 * What a function returns. Everything but KEYFOB_OK is a refusal or an error.
 */
typedef enum keyfob_result {
  /**
   * It was done; of keyfob_verify: the call may pass.
   */
  KEYFOB_OK = 0,
  /**
   * The call must not pass. The verdict says with which status.
   */
  KEYFOB_REFUSED = 1,
  /**
   * The replica is not ready, or not any more.
   */
  KEYFOB_NOT_READY = 2,
  /**
   * An argument is NULL that must not be, has a wrong size, or is not what its description asks for.
   */
  KEYFOB_INVALID = 3,
  /**
   * The process was forked after the replica was opened: open one in each process.
   */
  KEYFOB_FORKED = 4,
  /**
   * The library has a bug, which was stopped at its border.
   */
  KEYFOB_PANICKED = 5,
  /**
   * It failed; the text of the error says why.
   */
  KEYFOB_FAILED = 6,
} keyfob_result;

/**
 * The kind of a credential.
 */
typedef enum keyfob_kind {
  /**
   * The call was refused.
   */
  KEYFOB_NONE = 0,
  /**
   * A person's key.
   */
  KEYFOB_PERSONAL = 1,
  /**
   * A service's key.
   */
  KEYFOB_SERVICE = 2,
  /**
   * A legacy credential, which several people share.
   */
  KEYFOB_LEGACY = 3,
} keyfob_kind;

/**
 * The settings of a replica, which keyfob_open reads. One thread at a time uses them.
 */
typedef struct keyfob_options keyfob_options;

/**
 * A replica of an authority's keys, which a thread of the library keeps up to date.
 *
 * All functions but keyfob_close can be called from any number of threads at once.
 */
typedef struct keyfob_replica keyfob_replica;

/**
 * Bytes that somebody else owns. They need not end with NUL.
 */
typedef struct keyfob_view {
  /**
   * The first byte. NULL if there is none.
   */
  const char *data;
  /**
   * The number of bytes.
   */
  size_t length;
} keyfob_view;

/**
 * The state of a replica.
 */
typedef struct keyfob_state {
  /**
   * The size of this structure: set it to sizeof(keyfob_state) before the call.
   */
  size_t size;
  /**
   * 1 if calls are decided now, 0 if all are refused with 503.
   */
  uint32_t ready;
  /**
   * 1 if the replica has given up: close it, and open another.
   */
  uint32_t failed;
  /**
   * The authority's revision up to which everything is known.
   */
  uint64_t revision;
  /**
   * When everything was last known that the authority had, in Unix seconds; 0 if never.
   */
  int64_t confirmed_at;
  /**
   * How many seconds ago that was; UINT64_MAX if never.
   */
  uint64_t age;
} keyfob_state;

/**
 * What is asked of a replica. Set all members that are not used to zero.
 */
typedef struct keyfob_question {
  /**
   * The size of this structure: sizeof(keyfob_question).
   */
  size_t size;
  /**
   * The values of all `Authorization` fields of the request. Pass all of them: a request with two
   * is refused, since another program may read the other one.
   */
  const struct keyfob_view *authorization;
  /**
   * The number of these values. With none, the request is refused with 401.
   */
  size_t authorization_count;
  /**
   * The namespace that the request goes to. It must not be empty.
   */
  struct keyfob_view namespace_id;
  /**
   * 1 to ask for the namespace that the credential opens, which the verdict names: `namespace_id` must
   * then be empty, and the request must be served in that namespace. Otherwise 0.
   */
  uint32_t own_namespace;
  /**
   * The scopes that the key must have, 64 at most. Without any, verification allocates no memory.
   */
  const struct keyfob_view *scopes;
  /**
   * The number of these scopes.
   */
  size_t scopes_count;
} keyfob_question;

/**
 * What is answered.
 *
 * Its views are borrowed. `reason` lives as long as the program; `namespace_id` and `team_id` live until
 * keyfob_close.
 */
typedef struct keyfob_verdict {
  /**
   * The size of this structure: set it to sizeof(keyfob_verdict) before the call.
   */
  size_t size;
  /**
   * The HTTP status to answer a refused call with: 401, 403 or 503; 200 if the call may pass.
   */
  uint32_t status;
  /**
   * 0, or KEYFOB_REPLACED_SECRET.
   */
  uint32_t flags;
  /**
   * The first Unix second at which the credential no longer works; INT64_MAX if there is none.
   */
  int64_t expires_at;
  /**
   * Why the call is refused, as in `unknown_key`, for logs: do not show it to the caller.
   */
  struct keyfob_view reason;
  /**
   * The namespace that the call may use; empty if it is refused.
   */
  struct keyfob_view namespace_id;
  /**
   * The team of the namespace; empty if the call is refused.
   */
  struct keyfob_view team_id;
  /**
   * The public id of the credential, which ends with NUL. If the call is refused, it is empty
   * unless the secret was right.
   */
  char credential[KEYFOB_CREDENTIAL_SIZE];
} keyfob_verdict;

/**
 * Who calls. The texts end with NUL.
 */
typedef struct keyfob_identity {
  /**
   * The size of this structure: set it to sizeof(keyfob_identity) before the call.
   */
  size_t size;
  /**
   * The kind of the credential.
   */
  enum keyfob_kind kind;
  /**
   * The number of characters in `owner`.
   */
  uint32_t owner_length;
  /**
   * The number of characters in `scopes`.
   */
  uint32_t scopes_length;
  /**
   * The owner of the key, as in `user:alice` or `service:bot`; `subject:` and a name, or nothing, for
   * a legacy credential. Empty if the call is refused.
   */
  char owner[KEYFOB_OWNER_SIZE];
  /**
   * The scopes of the key, separated by spaces; `*` for all. Empty if the call is refused.
   */
  char scopes[KEYFOB_SCOPES_SIZE];
} keyfob_identity;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Creates options with the defaults. keyfob_options_free frees them.
 *
 * It returns NULL if the library has a bug.
 */
KEYFOB_MUST_USE struct keyfob_options *keyfob_options_new(void);

/**
 * Sets an option by its name. Names and values are those of `[gateway]` in the program's
 * configuration file; durations are texts like `5s`, paths are relative to the working folder:
 *
 * - `upstream`: URLs of feeds, separated by commas, in the order in which they are tried; required.
 *   Plain HTTP goes to the machine itself only
 * - `signers`: the public keys of the authority, separated by commas; required
 * - `credential_file`: a file with a key that has the scope `replica`; required
 * - `upstream_ca`, `upstream_certificate`, `upstream_key`: files in PEM: the authorities of the
 *   upstream's certificate, and a certificate to show with its private key
 * - `only`: a part of the keys: a team, or namespaces as in `acme/orders,acme/billing`
 * - `state`: a folder for what was read, to start without the network; for one process at a time
 * - `stale_after` (`5s`): refuse every call with 503 if what is known is older
 * - `flush_every` (`10s`): how often the use of keys is reported
 * - `prefix`: the prefix of the keys; without it, the feed tells
 * - `name` (`c`): the name by which the authority lists this reader
 * - `pepper_file_1` to `pepper_file_255`, `pepper_current`: files of peppers, and the number of the
 *   one under which new keys are
 *
 * `upstream` and `signers` can be set several times, and then add up; others only once.
 *
 * Returns KEYFOB_OK, or KEYFOB_INVALID with a text in `error`, which ends with NUL and is shortened
 * to `error_size` bytes; it never contains the value. `error` may be NULL.
 *
 * # Safety
 *
 * `options` is NULL or of keyfob_options_new and not freed. `name` and `value` can be read, and
 * `error_size` bytes of `error` can be written.
 */
KEYFOB_MUST_USE
enum keyfob_result keyfob_options_set(struct keyfob_options *options,
                                      struct keyfob_view name,
                                      struct keyfob_view value,
                                      char *error,
                                      size_t error_size);

/**
 * Frees options; NULL is allowed. A replica that was opened with them does not need them.
 *
 * # Safety
 *
 * `options` is NULL or of keyfob_options_new and not freed.
 */
void keyfob_options_free(struct keyfob_options *options);

/**
 * The version of the library, as in 0.1.0: a text that ends with NUL and is never freed.
 */
KEYFOB_MUST_USE const char *keyfob_version(void);

/**
 * Opens a replica, and returns at once: its thread reads the feed, again and again until that
 * succeeds. Until then every call is refused with 503; keyfob_wait_ready waits.
 *
 * A server that forks opens a replica in each process that verifies, after the fork. The thread
 * receives no signals.
 *
 * Returns KEYFOB_OK with a replica in `replica`, which keyfob_close frees. Otherwise `replica` is set
 * to NULL, and `error` to a text that ends with NUL and is shortened to `error_size` bytes:
 *
 * - KEYFOB_INVALID: an option is missing or a file of it cannot be read
 * - KEYFOB_FAILED: the system has no thread left, for example
 *
 * # Safety
 *
 * `options` is NULL or of keyfob_options_new and not freed. `replica` is NULL or can be written, and
 * `error_size` bytes of `error` can be written, if it is not NULL.
 */
KEYFOB_MUST_USE
enum keyfob_result keyfob_open(const struct keyfob_options *options,
                               struct keyfob_replica **replica,
                               char *error,
                               size_t error_size);

/**
 * Waits until the replica decides calls, for this many milliseconds at most.
 *
 * Returns KEYFOB_OK, or KEYFOB_NOT_READY after the time, KEYFOB_INVALID if `replica` is NULL, or
 * KEYFOB_FORKED.
 *
 * # Safety
 *
 * `replica` is NULL or of keyfob_open and not closed.
 */
KEYFOB_MUST_USE
enum keyfob_result keyfob_wait_ready(const struct keyfob_replica *replica,
                                     uint64_t milliseconds);

/**
 * Writes the state of a replica.
 *
 * Returns KEYFOB_OK, KEYFOB_INVALID if a pointer is NULL or `state->size` is too small, or
 * KEYFOB_FORKED.
 *
 * # Safety
 *
 * `replica` is NULL or of keyfob_open and not closed. `state` is NULL, or has the size that its first
 * member says.
 */
KEYFOB_MUST_USE
enum keyfob_result keyfob_read_state(const struct keyfob_replica *replica,
                                     struct keyfob_state *state);

/**
 * Writes why the feed cannot be read: a text that ends with NUL and is shortened to `size` bytes. It
 * is empty if the last attempt succeeded.
 *
 * Returns KEYFOB_OK, KEYFOB_INVALID if a pointer is NULL or `size` is 0, or KEYFOB_FORKED.
 *
 * # Safety
 *
 * `replica` is NULL or of keyfob_open and not closed. `size` bytes of `text` can be written, if it
 * is not NULL.
 */
KEYFOB_MUST_USE
enum keyfob_result keyfob_last_error(const struct keyfob_replica *replica,
                                     char *text,
                                     size_t size);

/**
 * Ends the thread of a replica, and frees it; NULL is allowed. The last uses are reported before,
 * which takes 5 seconds at most. The thread that notices pauses of the process ends a moment later.
 *
 * All other calls with the replica must have returned, and what its verdicts borrowed must not be
 * read any more. In a process that was forked since keyfob_open it does nothing.
 *
 * # Safety
 *
 * `replica` is NULL or of keyfob_open and not closed, and nobody else uses it.
 */
void keyfob_close(struct keyfob_replica *replica);

/**
 * Verifies the credential of a request: from memory, without locks and system calls.
 *
 * `verdict` is always written if it has a right size. `identity` says who calls; it may be NULL, which
 * saves a look-up.
 *
 * Returns KEYFOB_OK if the call may pass, and only then. KEYFOB_REFUSED is a decision; every
 * other value is a mistake of the calling program or a bug: the verdict's status is 503, and its
 * reason tells which.
 *
 * The time is that of the system's clock at the call. Call it when the head of the request was read,
 * and act on the answer at once: a key may be revoked in the next moment.
 *
 * # Safety
 *
 * `replica` is NULL or of keyfob_open and not closed. The other pointers are NULL, or point to
 * structures of the size that their first member says. What the question points to can be read and
 * does not change during the call.
 */
KEYFOB_MUST_USE
enum keyfob_result keyfob_verify(const struct keyfob_replica *replica,
                                 const struct keyfob_question *question,
                                 struct keyfob_verdict *verdict,
                                 struct keyfob_identity *identity);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KEYFOB_H */
