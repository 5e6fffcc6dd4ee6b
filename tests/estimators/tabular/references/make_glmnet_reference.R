# Reference values of LassoCox from R's glmnet (Breslow ties, standardised columns).
# Run in this folder: Rscript make_glmnet_reference.R   (Debian: r-cran-glmnet, r-cran-jsonlite)
# Made with R 4.2.2, glmnet 4.1-6. Both solvers are run to a tighter tolerance than their default.
suppressPackageStartupMessages({
  library(glmnet)
  library(survival)
  library(jsonlite)
})

make_data <- function(seed, n, p, step) {
  set.seed(seed)
  x <- matrix(rnorm(n * p), n, p)
  x[, 2] <- x[, 1] + 0.5 * x[, 2]   # correlated columns
  x[, 3] <- 40 * x[, 3] + 100       # another scale, not centred
  x <- signif(x, 5)
  t <- rexp(n, exp(x[, 1] - 0.02 * x[, 3] + 2))
  c <- rexp(n, 0.3)
  time <- pmin(t, c)
  if (step > 0) time <- ceiling(time / step) * step
  list(x = x, time = signif(time, 6), event = as.integer(t <= c))
}

reference <- function(seed, n, p, step = 0, alpha = 1, penalty = rep(1, p),
                      ratio = if (n > p) 1e-4 else 0.1) {
  data <- make_data(seed, n, p, step)
  y <- Surv(data$time, data$event)
  fit <- glmnet(data$x, y, family = "cox", alpha = alpha, penalty.factor = penalty, thresh = 1e-13,
                lambda.min.ratio = ratio)
  # Folds with equal numbers of events; lambda given, so that folds are fitted at it exactly.
  foldid <- integer(n)
  foldid[order(-data$event)] <- rep_len(1:4, n)
  cv <- cv.glmnet(data$x, y, family = "cox", alpha = alpha, penalty.factor = penalty,
                  lambda = fit$lambda, foldid = foldid, thresh = 1e-13)
  list(x = data$x, time = data$time, event = data$event, alpha = alpha, penalty = penalty,
       lambda = fit$lambda, beta = as.matrix(fit$beta), foldid = foldid, cvm = cv$cvm,
       cvsd = cv$cvsd, lambda_min = cv$lambda.min, lambda_1se = cv$lambda.1se)
}

cases <- list(
  distinct_times = reference(1, 60, 8),
  tied_times = reference(2, 60, 8, step = 0.05),
  elastic_net = reference(3, 50, 6, alpha = 0.5),
  penalty_factor = reference(4, 60, 8, step = 0.02, penalty = c(0, 0, 1, 1, 1, 2, 2, 2)),
  wide = reference(5, 30, 40)
)
write_json(cases, "glmnet.json", digits = 10, auto_unbox = TRUE)
