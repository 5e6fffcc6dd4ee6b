# Cox log partial likelihood at given risks, by R's survival package, for tests/losses/test_cox.py.
# Run in this folder: Rscript make_cox_loglik.R   (made with R 4.2.2, survival 3.5.3)
library(survival)

set.seed(7)
n <- 40
sample <- data.frame(
  time = sample(1:12, n, replace = TRUE),          # many ties, also between events and censored
  event = rbinom(n, 1, 0.6),
  risk = round(rnorm(n, sd = 1.5), 6),
  weight = sample(c(0.5, 1, 2, 3.5), n, replace = TRUE)
)

# With the coefficient of `risk` fixed at 1 and no iteration, loglik is that of the given risks.
loglik_at_risk <- function(data, ties, weights) {
  fit <- coxph(Surv(time, event) ~ risk, data = data, weights = weights, ties = ties,
               init = 1, control = coxph.control(iter.max = 0))
  fit$loglik[2]
}

unit <- rep(1, n)
rows <- list()
for (ties in c("breslow", "efron")) {
  for (name in c("unit", "case")) {
    w <- if (name == "unit") unit else sample$weight
    rows[[length(rows) + 1]] <- data.frame(
      ties = ties, weights = name, loglik = sprintf("%.12f", loglik_at_risk(sample, ties, w)))
  }
}
write.csv(sample, "cox_sample.csv", row.names = FALSE, quote = FALSE)
write.csv(do.call(rbind, rows), "cox_loglik.csv", row.names = FALSE, quote = FALSE)
