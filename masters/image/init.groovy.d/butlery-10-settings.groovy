/*
 * No builds on the master, and its own address, which agents that come by WebSocket are told.
 */
import jenkins.model.Jenkins
import jenkins.model.JenkinsLocationConfiguration

def jenkins = Jenkins.get()
if (jenkins.numExecutors != 0) jenkins.numExecutors = 0
def location = JenkinsLocationConfiguration.get()
if (location.url != butlery.rootUrl) {
  location.url = butlery.rootUrl
  location.save()
}
