/* net/tls_openssl.h: OpenSSL's functions, loaded when the first of them is needed (docs/adr/0013-openssl-when-needed.md).
 *
 *     const struct net_openssl *openssl;
 *     SQ_TRY(net_openssl_load(err, &openssl));
 *     SSL *ssl = openssl->SSL_new(context);
 *
 * Their types come from OpenSSL's own headers, so that a call through the table is checked like any other. Macros of those
 * headers that call functions do not work with it: call the function below them (SSL_ctrl). To use a further function,
 * add its name to the list.
 *
 * Threads: any. */
#ifndef SQ_NET_TLS_OPENSSL_H
#define SQ_NET_TLS_OPENSSL_H

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/objects.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/status.h"

#define NET_OPENSSL_FUNCTIONS(F)                                                                                       \
    F(BIO_clear_flags)                                                                                                 \
    F(BIO_free)                                                                                                        \
    F(BIO_get_data)                                                                                                    \
    F(BIO_get_new_index)                                                                                               \
    F(BIO_meth_free)                                                                                                   \
    F(BIO_meth_new)                                                                                                    \
    F(BIO_meth_set_ctrl)                                                                                               \
    F(BIO_meth_set_read)                                                                                               \
    F(BIO_meth_set_write)                                                                                              \
    F(BIO_new)                                                                                                         \
    F(BIO_set_data)                                                                                                    \
    F(BIO_set_flags)                                                                                                   \
    F(BIO_set_init)                                                                                                    \
    F(ERR_clear_error)                                                                                                 \
    F(ERR_error_string_n)                                                                                              \
    F(ERR_peek_last_error)                                                                                             \
    F(ERR_reason_error_string)                                                                                         \
    F(EVP_Digest)                                                                                                      \
    F(EVP_get_digestbyname)                                                                                            \
    F(EVP_md5)                                                                                                         \
    F(EVP_sha256)                                                                                                      \
    F(HMAC)                                                                                                            \
    F(OBJ_nid2sn)                                                                                                      \
    F(PKCS5_PBKDF2_HMAC)                                                                                               \
    F(SSL_CTX_check_private_key)                                                                                       \
    F(SSL_CTX_ctrl)                                                                                                    \
    F(SSL_CTX_free)                                                                                                    \
    F(SSL_CTX_load_verify_file)                                                                                        \
    F(SSL_CTX_new)                                                                                                     \
    F(SSL_CTX_set_default_passwd_cb)                                                                                   \
    F(SSL_CTX_set_default_verify_paths)                                                                                \
    F(SSL_CTX_set_options)                                                                                             \
    F(SSL_CTX_set_verify)                                                                                              \
    F(SSL_CTX_use_PrivateKey_file)                                                                                     \
    F(SSL_CTX_use_certificate_chain_file)                                                                              \
    F(SSL_connect)                                                                                                     \
    F(SSL_ctrl)                                                                                                        \
    F(SSL_free)                                                                                                        \
    F(SSL_get0_param)                                                                                                  \
    F(SSL_get1_peer_certificate)                                                                                       \
    F(SSL_get_error)                                                                                                   \
    F(SSL_get_verify_result)                                                                                           \
    F(SSL_get_version)                                                                                                 \
    F(SSL_new)                                                                                                         \
    F(SSL_read_ex)                                                                                                     \
    F(SSL_set_bio)                                                                                                     \
    F(SSL_shutdown)                                                                                                    \
    F(SSL_write_ex)                                                                                                    \
    F(TLS_client_method)                                                                                               \
    F(X509_VERIFY_PARAM_set1_host)                                                                                     \
    F(X509_VERIFY_PARAM_set1_ip_asc)                                                                                   \
    F(X509_VERIFY_PARAM_set_hostflags)                                                                                 \
    F(X509_digest)                                                                                                     \
    F(X509_free)                                                                                                       \
    F(X509_get_signature_info)                                                                                         \
    F(X509_verify_cert_error_string)

struct net_openssl {
#define NET_OPENSSL_MEMBER(name) __typeof__(name) *name;
    NET_OPENSSL_FUNCTIONS(NET_OPENSSL_MEMBER)
#undef NET_OPENSSL_MEMBER
};

/* OK: *ret_openssl is set, for ever. SQ_NOT_FOUND: it is not installed, or lacks a function. */
SQ_MUST_USE sq_status net_openssl_load(struct sq_error *err, const struct net_openssl **ret_openssl);

#endif
