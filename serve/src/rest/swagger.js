// Starts Swagger UI. The document is what the caller's token may ask, so it is fetched again when that changes.
window.onload = function () {
  let token = null;
  const again = (system) => system.specActions.download("/openapi.json");
  const refetch = () => ({
    statePlugins: {
      auth: {
        wrapActions: {
          authorize: (original, system) => (given) => {
            token = given.token && given.token.value;
            const done = original(given);
            again(system);
            return done;
          },
          logout: (original, system) => (names) => {
            token = null;
            const done = original(names);
            again(system);
            return done;
          },
        },
      },
    },
  });
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    tryItOutEnabled: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    plugins: [SwaggerUIBundle.plugins.DownloadUrl, refetch],
    layout: "StandaloneLayout",
    requestInterceptor: (request) => {
      if (token && request.loadSpec) request.headers.Authorization = "Bearer " + token;
      return request;
    },
  });
};
