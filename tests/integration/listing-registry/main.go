// A registry that has the referrers API: the one of go-containerregistry, with TLS and one user.
package main

import (
	"crypto/subtle"
	"flag"
	"log"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	address := flag.String("address", "", "HOST:PORT to listen at")
	folder := flag.String("folder", "", "where blobs are kept; manifests are in memory")
	certificate := flag.String("certificate", "", "PEM of the chain; without it, plain HTTP")
	key := flag.String("key", "", "PEM of its key")
	flag.Parse()

	inner := registry.New(
		registry.WithReferrersSupport(true),
		registry.WithBlobHandler(registry.NewDiskBlobHandler(*folder)),
	)
	password := os.Getenv("REGISTRY_PASSWORD")
	handler := http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		_, given, _ := in.BasicAuth()
		if password != "" && subtle.ConstantTimeCompare([]byte(given), []byte(password)) != 1 {
			out.Header().Set("WWW-Authenticate", `Basic realm="here"`)
			http.Error(out, "", http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(out, in)
	})
	if *certificate == "" {
		log.Fatal(http.ListenAndServe(*address, handler))
	}
	log.Fatal(http.ListenAndServeTLS(*address, *certificate, *key, handler))
}
